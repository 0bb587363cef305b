import type { EncodingProgress } from "./encoding/encode-rows.ts";
import type { Evaluation, Progress } from "./progress.ts";
import type { Estimate } from "./report/estimate.ts";
import type { SampleRecord } from "./samples.ts";

/** Sees a run as it goes. What one sees is of all ranks together. */
export interface TrainingObserver {
  /** Every second or so while rows are encoded before the first step, and when all are. */
  encoding?(progress: EncodingProgress): void;
  /** Before the first step. */
  estimate?(estimate: Estimate): void;
  /** The same, once all is ready; how many steps there are at most. */
  begin?(steps: number): void;
  /** After every step. */
  step?(progress: Progress): void;
  /** After every evaluation of the validation rows. */
  evaluation?(evaluation: Evaluation): void;
  /** After the last step and its evaluation; not where the run fails or is aborted. */
  end?(): void;
  /** Answers to the sample prompts: before the first step, at every evaluation, after the last step. Rank 0 alone. */
  samples?(record: SampleRecord): void;
  /** The run is over, however it came to its end. */
  close?(): void;
}
