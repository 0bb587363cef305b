import type { LlamaConfig } from "../../../engine/config.ts";
import type { WeightType } from "../../../engine/engine.ts";
import { Failure } from "../../../terminal/failure.ts";
import { interruptible } from "../../../terminal/interrupt.ts";
import { say } from "../../../terminal/streams.ts";
import { openAdapter } from "../../adapter/index.ts";
import { termsOf, type WeightTerms } from "../../adapter/merge.ts";
import { describeCheckpoint, openCheckpoint } from "../../checkpoint/index.ts";
import { writeFolder } from "../destination.ts";
import { writeModel } from "../model-to-write.ts";

export interface MergeFlags {
  readonly output: string;
  readonly scale?: readonly number[];
  readonly dtype?: WeightType;
  readonly force?: boolean;
}

/** Writes the base with the adapters in it: W + Σ factor · scale · B A, rounded once. */
export async function merge(base: string, adapters: readonly string[], flags: MergeFlags): Promise<void> {
  const factors = factorsFor(adapters, flags.scale);
  const options = { force: flags.force ?? false, inputs: [base, ...adapters] };
  await interruptible((signal) =>
    writeFolder(flags.output, options, async (folder) => {
      const model = await openCheckpoint(base);
      say(describeCheckpoint(model));
      for (const warning of model.warnings) say(`warning: ${warning}`);
      const terms = await readTerms(adapters, factors, model.config, model.publishedName, signal);
      await writeModel(folder, model, { dtype: flags.dtype, terms, signal, what: "Merging" });
    }),
  );
  say(`Written to ${flags.output}`);
}

/** One factor for each adapter. @throws Failure where another number of them was given */
export function factorsFor(adapters: readonly string[], scales: readonly number[] = []): number[] {
  if (scales.length === 0) return adapters.map(() => 1);
  if (scales.length === adapters.length) return [...scales];
  throw new Failure(`--scale is given ${scales.length} times for ${adapters.length} adapters; give it once for each`);
}

/** @param base the model's published name */
export async function readTerms(
  adapters: readonly string[],
  factors: readonly number[],
  model: LlamaConfig,
  base: string | null,
  signal: AbortSignal,
): Promise<WeightTerms> {
  const opened = [];
  for (const [i, source] of adapters.entries()) {
    const { modules, warnings } = await openAdapter(source, model, { name: source, base, signal });
    for (const warning of warnings) say(`warning: ${warning}`);
    opened.push({ modules, factor: factors[i]! });
  }
  return termsOf(opened, model);
}
