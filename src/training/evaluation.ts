import type { EngineTrainer, Ranks } from "../engine/engine.ts";
import { CodedError } from "../errors/index.ts";
import { shareOf } from "./distributed/share.ts";
import type { Example } from "./examples.ts";
import { packExamples } from "./packing.ts";
import type { Given, Plan } from "./plan.ts";
import type { TrainingSettings } from "./settings.ts";

export interface EvaluationOptions {
  readonly trainer: EngineTrainer;
  readonly settings: Pick<TrainingSettings, "micro_batch_size" | "cutoff_len">;
  readonly ranks: Ranks;
  readonly signal?: AbortSignal | undefined;
}

/** Mean over the learnt tokens of these examples, nats; each rank does its share. Throws the signal's reason. */
export async function validationLoss(
  validation: readonly Example[],
  { trainer, settings, ranks, signal }: EvaluationOptions,
): Promise<number> {
  let [lossSum, targets] = [0, 0];
  for (const batch of packExamples(shareOf(validation, ranks), settings.micro_batch_size * settings.cutoff_len)) {
    signal?.throwIfAborted();
    const sum = await trainer.evaluate(batch);
    lossSum += sum.loss;
    targets += sum.targets;
  }
  const [loss, count] = await trainer.sum(Float64Array.of(lossSum, targets));
  return loss! / count!;
}

/** Whether a run is evaluated after so many steps: every eval_steps, at its end, and by default at every epoch's. */
export function isEvaluated(step: number, { steps, stepsPerEpoch, evaluatesEpochs, settings }: Plan): boolean {
  if (step % settings.eval_steps === 0 || step === steps) return true;
  return evaluatesEpochs && step % stepsPerEpoch === 0;
}

/**
 * What a run without validation rows should say of its given settings of evaluations; null where there is nothing to say.
 * @throws TRAINING_SETTINGS for early_stopping_patience, which needs them
 */
export function evaluationNote(
  { settings }: Plan,
  given: Given,
  has: { readonly validation: boolean; readonly samples: boolean },
): string | null {
  if (has.validation) return null;
  const { early_stopping_patience: patience, eval_steps } = settings;
  if (patience > 0) {
    const message = `early_stopping_patience ${patience} needs validation rows, and there are none`;
    throw new CodedError("TRAINING_SETTINGS", message, { hint: "Give a val_set_size above 0, or validation_data." });
  }
  if (!given.has("eval_steps") || has.samples) return null;
  return `eval_steps ${eval_steps} has nothing to evaluate: there are no validation rows and no sample_prompts`;
}
