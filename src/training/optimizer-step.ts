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

export interface StepOptions {
  readonly plan: Plan;
  readonly trainer: EngineTrainer;
  readonly ranks: Ranks;
  readonly signal?: AbortSignal | undefined;
  /** An abort does not end the step: the result says that there was one, on any rank. */
  readonly isWhole?: boolean;
}

/**
 * One update of the adapter by these examples, each rank doing its share of them.
 * @param state of the steps before it; its micro-batches are counted
 * @throws TRAINING_DIVERGED, the signal's reason unless the step is to be whole
 */
export async function optimizerStep(
  examples: readonly Example[],
  state: RunState,
  { plan, trainer, ranks, signal, isWhole = false }: StepOptions,
): Promise<StepRecord & { readonly isStopped: boolean }> {
  const { settings } = plan;
  const step = state.steps.length + 1;
  const targets = examples.reduce((sum, example) => sum + example.targets, 0);
  let [lossSum, tokens] = [0, 0];
  for (const batch of packExamples(shareOf(examples, ranks), settings.micro_batch_size * settings.cutoff_len)) {
    if (!isWhole) signal?.throwIfAborted();
    // No two ranks draw the same mask.
    const counter = state.microBatches++ * ranks.size + ranks.rank;
    const dropout = { probability: settings.lora_dropout, seed: settings.seed, step: counter };
    const { loss } = await trainer.accumulate(batch, 1 / targets, settings.lora_dropout > 0 ? dropout : null);
    lossSum += loss;
    tokens += batch.tokens.length;
  }
  if (!isWhole) signal?.throwIfAborted();
  const stops = signal?.aborted ? 1 : 0;
  const sums = await trainer.sum(Float64Array.of(lossSum, tokens, stops));
  [lossSum, tokens] = [sums[0]!, sums[1]!];
  const loss = lossSum / targets;
  requireFinite("loss", loss, step);
  const rate = learningRate(step - 1, plan);
  const { weight_decay: weightDecay, max_grad_norm: maxGradNorm } = settings;
  const { gradNorm } = await trainer.update({ ...adamW, learningRate: rate, weightDecay, maxGradNorm });
  requireFinite("gradient", gradNorm, step);
  return { step, loss, gradNorm, learningRate: rate, tokens, isStopped: sums[2]! > 0 };
}
