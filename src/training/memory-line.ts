import type { MemoryPlan } from "../engine/engine.ts";

/** "Memory: weights 13.5 GB, adapter 17 MB, optimiser 50 MB, activations 5.1 GB (12 of 32 layers computed again), ..." */
export function memoryLine(plan: MemoryPlan): string {
  const again = `${plan.checkpointedLayers} of ${plan.layers} layers computed again`;
  const parts = [
    `weights ${size(plan.weights)}`,
    `adapter ${size(plan.adapter)}`,
    `optimiser ${size(plan.optimizer)}`,
    `activations ${size(plan.activations)}${plan.checkpointedLayers > 0 ? ` (${again})` : ""}`,
    `workspace ${size(plan.workspace)}`,
  ];
  return `Memory: ${parts.join(", ")}; ${size(plan.available)} available`;
}

function size(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
