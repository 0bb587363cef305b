import type { EngineTrainer, Ranks } from "../engine/engine.ts";
import { shareOf } from "./distributed/share.ts";
import type { Example } from "./examples.ts";
import { requireFinite } from "./finite.ts";
import { packExamples } from "./packing.ts";
import type { Plan } from "./plan.ts";
import type { StepRecord } from "./progress.ts";
import type { RunState } from "./run-state.ts";
import { learningRate } from "./schedule.ts";

const adamW = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const;

/**
 * One update of the adapter by these examples, each rank doing its share of them.
 * @param state of the steps before it; its micro-batches are counted
 * @throws TRAINING_DIVERGED, the signal's reason
 */
export async function optimizerStep(
  examples: readonly Example[],
  state: RunState,
  {
    plan,
    trainer,
    ranks,
    signal,
  }: { plan: Plan; trainer: EngineTrainer; ranks: Ranks; signal?: AbortSignal | undefined },
): Promise<StepRecord> {
  const { settings } = plan;
  const step = state.steps.length + 1;
  const targets = examples.reduce((sum, example) => sum + example.targets, 0);
  let [lossSum, tokens] = [0, 0];
  for (const batch of packExamples(shareOf(examples, ranks), settings.micro_batch_size * settings.cutoff_len)) {
    signal?.throwIfAborted();
    // No two ranks draw the same mask.
    const counter = state.microBatches++ * ranks.size + ranks.rank;
    const dropout = { probability: settings.lora_dropout, seed: settings.seed, step: counter };
    const { loss } = await trainer.accumulate(batch, 1 / targets, settings.lora_dropout > 0 ? dropout : null);
    lossSum += loss;
    tokens += batch.tokens.length;
  }
  signal?.throwIfAborted();
  [lossSum, tokens] = (await trainer.sum(Float64Array.of(lossSum, tokens))) as unknown as [number, number];
  const loss = lossSum / targets;
  requireFinite("loss", loss, step);
  const rate = learningRate(step - 1, plan);
  const { weight_decay: weightDecay, max_grad_norm: maxGradNorm } = settings;
  const { gradNorm } = await trainer.update({ ...adamW, learningRate: rate, weightDecay, maxGradNorm });
  requireFinite("gradient", gradNorm, step);
  return { step, loss, gradNorm, learningRate: rate, tokens };
}
