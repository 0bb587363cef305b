import type { TrainingSettings } from "./settings.ts";

/** transformers' names of schedules. `constant` warms up only where that was asked for, `constant_with_warmup` as the others. */
export const schedules = ["linear", "cosine", "constant", "constant_with_warmup"] as const;
export type ScheduleName = (typeof schedules)[number];

/** Steps of a run and what its learning rate depends on. */
export interface ScheduledRun {
  readonly steps: number;
  readonly settings: Pick<TrainingSettings, "lr_scheduler_type" | "warmup_steps" | "learning_rate">;
}

/**
 * A linear warm-up, then the rest of transformers' get_linear_schedule_with_warmup, get_cosine_schedule_with_warmup (half a
 * wave, to zero) or get_constant_schedule_with_warmup.
 * @param step optimiser steps already taken; with a warm-up the first one has rate 0
 */
export function learningRate(step: number, { steps, settings }: ScheduledRun): number {
  const { warmup_steps: warmup, learning_rate: peak, lr_scheduler_type: name } = settings;
  if (step < warmup) return (peak * step) / warmup;
  const after = Math.max(1, steps - warmup);
  switch (name) {
    case "linear":
      return (peak * Math.max(0, steps - step)) / after;
    case "cosine":
      return peak * Math.max(0, 0.5 * (1 + Math.cos((Math.PI * (step - warmup)) / after)));
    case "constant":
    case "constant_with_warmup":
      return peak;
  }
}
