import type { TrainingSettings } from "./settings.ts";

/** The settings as a data set of this size allows them. */
export interface Plan {
  readonly trainingRows: number;
  readonly validationRows: number;
  readonly batchRows: number;
  readonly cutoff: number;
  readonly steps: number;
  readonly stepsPerEpoch: number;
  readonly warmupSteps: number;
  /** What was adapted, one line, or null. */
  readonly adapted: string | null;
}

/** Fewer rows than this are all needed for training. */
const leastRowsForValidation = 50;

/**
 * alpaca-lora's defaults are meant for 50,000 rows. Where the data are too few for one, it gives way: the validation set
 * is at most a tenth of the rows, warm-up at most a tenth of the steps, a batch at most all the rows, a row no longer
 * than the model's context.
 */
export function planRun(rows: number, context: number, settings: TrainingSettings): Plan {
  const notes: string[] = [];
  const atMost = (wanted: number, limit: number, what: string): number => {
    if (wanted <= limit) return wanted;
    notes.push(`${what} ${limit} instead of ${wanted}`);
    return limit;
  };
  const validationLimit = rows < leastRowsForValidation ? 0 : Math.floor(rows / 10);
  const validationRows = atMost(settings.val_set_size, validationLimit, "val_set_size");
  const trainingRows = rows - validationRows;
  const batchRows = atMost(settings.batch_size, trainingRows, "batch_size");
  const stepsPerEpoch = Math.ceil(trainingRows / batchRows);
  const steps = stepsPerEpoch * settings.num_epochs;
  const warmupSteps = atMost(settings.warmup_steps, Math.floor(steps / 10), "warmup_steps");
  const cutoff = atMost(settings.cutoff_len, context, "cutoff_len");
  const adapted = notes.length > 0 ? `Adapted to ${rows} rows: ${notes.join(", ")}` : null;
  return { trainingRows, validationRows, batchRows, cutoff, steps, stepsPerEpoch, warmupSteps, adapted };
}

/**
 * Linear warm-up, then linear decay to zero (transformers' get_linear_schedule_with_warmup).
 * @param step optimiser steps already taken; with a warm-up the first one has rate 0
 */
export function learningRate(step: number, { steps, warmupSteps }: Plan, peak: number): number {
  if (step < warmupSteps) return (peak * step) / warmupSteps;
  return (peak * Math.max(0, steps - step)) / Math.max(1, steps - warmupSteps);
}
