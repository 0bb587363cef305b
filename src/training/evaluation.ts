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

/** @throws TRAINING_SETTINGS for a given setting of evaluations where there is nothing to evaluate */
export function requireEvaluations(
  { settings }: Plan,
  given: Given,
  has: { readonly validation: boolean; readonly samples: boolean },
): void {
  if (has.validation) return;
  const refuse = (found: string): never => {
    const hint = "Give a val_set_size above 0, or validation_data.";
    throw new CodedError("TRAINING_SETTINGS", `${found} needs validation rows, and there are none`, { hint });
  };
  const { early_stopping_patience: patience, eval_steps } = settings;
  if (patience > 0) refuse(`early_stopping_patience ${patience}`);
  if (given.has("eval_steps") && !has.samples) refuse(`eval_steps ${eval_steps}`);
}
