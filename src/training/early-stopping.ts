import type { Plan } from "./plan.ts";
import { type Evaluation, lowest } from "./progress.ts";
import type { RunState } from "./run-state.ts";

/** Why a run has ended before its last step. */
export interface EarlyStop {
  /** Steps taken, and planned. */
  readonly step: number;
  readonly steps: number;
  /** Evaluations since the best one. */
  readonly evaluations: number;
  readonly best: Evaluation;
}

/**
 * transformers' EarlyStoppingCallback with no threshold: as many evaluations in a row as early_stopping_patience says did
 * not improve on the best one; null where the run goes on. It follows from the evaluations, which are the same on all ranks.
 */
export function earlyStop(
  { steps, evaluations }: Pick<RunState, "steps" | "evaluations">,
  { settings, ...plan }: Pick<Plan, "settings" | "steps">,
): EarlyStop | null {
  const { early_stopping_patience: patience } = settings;
  const best = lowest(evaluations);
  if (patience === 0 || best === undefined || steps.length >= plan.steps) return null;
  const since = evaluations.length - 1 - evaluations.indexOf(best);
  return since < patience ? null : { step: steps.length, steps: plan.steps, evaluations: since, best };
}

export function stopLine({ step, steps, evaluations, best }: EarlyStop): string {
  const times = evaluations === 1 ? "the last evaluation" : `${evaluations} evaluations`;
  const least = `${best.loss.toFixed(4)} after step ${best.step}`;
  return `stopped early after step ${step} of ${steps}: no better validation loss in ${times} (best ${least})`;
}
