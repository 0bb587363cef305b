import type { EngineTrainer, Ranks } from "../engine/engine.ts";
import { shareOf } from "./distributed/share.ts";
import type { Example } from "./examples.ts";
import { packExamples } from "./packing.ts";
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
