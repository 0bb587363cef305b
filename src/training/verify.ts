import type { EngineModel } from "../engine/engine.ts";
import { openAdapter } from "../llama/adapter/index.ts";
import { lossOf } from "./probe.ts";
import type { StepRecord } from "./progress.ts";
import type { TrainedAdapter } from "./train-lora.ts";

/** Of fewer steps the losses are those of single batches and say little. */
const tellingSteps = 20;

/**
 * What is wrong with an adapter as it was written, null where nothing is: it is opened and scored as a server would, and
 * must not do worse than where it started. A rise counts only where the steps' own losses do not contradict it.
 */
export async function faultOf(
  source: string,
  { initial, probe, steps }: TrainedAdapter,
  model: EngineModel,
  signal?: AbortSignal,
): Promise<string | null> {
  const written = await openAdapter(source, model.config, { signal, mostBytes: Number.MAX_SAFE_INTEGER });
  const before = await scored(initial, probe, model, signal);
  const after = await scored(written.modules, probe, model, signal);
  if (!Number.isFinite(after)) return "the trained adapter gives scores that are not finite numbers";
  const rise = after > before * 1.01 + 0.01;
  if (!rise || fell(steps)) return null;
  return `the loss ended higher than it began: ${before.toFixed(4)} before the training, ${after.toFixed(4)} after it`;
}

async function scored(
  modules: TrainedAdapter["initial"],
  probe: TrainedAdapter["probe"],
  model: EngineModel,
  signal: AbortSignal | undefined,
): Promise<number> {
  const adapter = await model.createAdapter(modules);
  try {
    return await lossOf(probe, model, adapter, signal);
  } finally {
    await adapter.close();
  }
}

/** Whether the last tenth of the steps had a lower loss than the first step, the only one before any update. */
function fell(steps: readonly StepRecord[]): boolean {
  if (steps.length < tellingSteps) return false;
  const last = steps.slice(-Math.round(steps.length / 10));
  return last.reduce((sum, { loss }) => sum + loss, 0) / last.length < steps[0]!.loss;
}
