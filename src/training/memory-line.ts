import type { MemoryPlan } from "../engine/engine.ts";
import { memoryText } from "./report/units.ts";

/** "Memory: weights 13.5 GB, adapter 17 MB, optimiser 50 MB, activations 5.1 GB (12 of 32 layers computed again), ..." */
export function memoryLine(plan: MemoryPlan): string {
  const again = `${plan.checkpointedLayers} of ${plan.layers} layers computed again`;
  const parts = [
    `weights ${memoryText(plan.weights)}`,
    `adapter ${memoryText(plan.adapter)}`,
    `optimiser ${memoryText(plan.optimizer)}`,
    `activations ${memoryText(plan.activations)}${plan.checkpointedLayers > 0 ? ` (${again})` : ""}`,
    `workspace ${memoryText(plan.workspace)}`,
  ];
  return `Memory: ${parts.join(", ")}; ${memoryText(plan.available)} available`;
}
