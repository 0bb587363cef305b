import { linearShape } from "../../engine/config.ts";
import type { EngineModel } from "../../engine/engine.ts";
import type { Checkpoint } from "../../llama/checkpoint/index.ts";
import { layoutOf } from "../adapter-layout.ts";
import type { PreparedExamples } from "../prepare.ts";
import type { Base, TrainingRun } from "../train-lora.ts";
import type { DatasetReport } from "./dataset-report.ts";
import { exampleLines, type ShownExample, shownExamples } from "./shown-examples.ts";
import { entry } from "./text.ts";
import { bytesText } from "./units.ts";

/** What a dry run answers: plain data. */
export interface DryRun extends DatasetReport {
  /** Of the first step. */
  readonly examples: readonly ShownExample[];
  /** Bytes that are certain before the model is loaded; a micro-batch takes more, which the run says before its first step. */
  readonly memory: { readonly weights: number; readonly adapterAndOptimizer: number };
}

/** A base of which nothing but the shape and the tokenizer is there: enough to prepare a run. */
export function baseWithoutWeights(checkpoint: Checkpoint): Base {
  const { config, tokenizer, name } = checkpoint;
  return { model: { config } as unknown as EngineModel, tokenizer, name, checkpoint };
}

/** The end of a run that goes no further than its report. */
export function dryRunOf(
  { report, firstEpoch, plan }: PreparedExamples,
  { base, layout, log }: Pick<TrainingRun, "base" | "layout" | "log">,
  weights: Checkpoint["weights"],
): DryRun {
  const { config } = base.model;
  const examples = shownExamples(firstEpoch ?? [], plan, base.tokenizer);
  const numbers = (layout ?? layoutOf(config, plan.settings)).targets.reduce((sum, { linear, rank }) => {
    const [out, input] = linearShape(config, linear);
    return sum + rank * (out + input);
  }, 0);
  const files = [...weights.tensors.values()].map(
    ({ shape, dtype }) => shape.reduce((a, b) => a * b, 1) * bytesOf(dtype),
  );
  // The adapter, its gradients and AdamW's two moments, in float32.
  const memory = { weights: files.reduce((a, b) => a + b, 0), adapterAndOptimizer: 4 * 4 * numbers };
  const said = `weights ${bytesText(memory.weights)}, adapter and optimiser ${bytesText(memory.adapterAndOptimizer)}, and a micro-batch's activations`;
  for (const line of entry(["memory", said])) log?.(line);
  for (const line of exampleLines(examples)) log?.(line);
  return { ...report!, examples, memory };
}

/** Blocks become float32 while they are loaded. */
function bytesOf(dtype: string): number {
  return dtype === "F16" || dtype === "BF16" ? 2 : 4;
}
