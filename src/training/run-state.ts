import type { AdapterModule } from "../engine/engine.ts";
import type { Evaluation, StepRecord } from "./progress.ts";
import type { SampleRecord } from "./samples.ts";

/** The adapter with the lowest validation loss so far. */
export interface BestAdapter extends Evaluation {
  readonly modules: readonly AdapterModule[];
}

/**
 * What a run has come to after a whole number of steps, besides the adapter and the optimiser's moments. The order of the
 * rows and the masks of dropout follow from it and the seed.
 */
export interface RunState {
  /** One a step. */
  readonly steps: StepRecord[];
  readonly evaluations: Evaluation[];
  /** null without a validation set, and before its first evaluation. */
  best: BestAdapter | null;
  /** Answers to the sample prompts: at the start, of the best adapter, and the latest. */
  samples: SampleRecord[];
  /** Micro-batches of this rank so far: dropout draws another mask for each. */
  microBatches: number;
  /** Of all ranks, in steps. */
  tokens: number;
  /** Spent in steps. */
  seconds: number;
}

export function newRunState(): RunState {
  return { steps: [], evaluations: [], best: null, samples: [], microBatches: 0, tokens: 0, seconds: 0 };
}
