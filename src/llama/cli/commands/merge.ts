import type { WeightType } from "../../../engine/engine.ts";
import { Failure } from "../../../terminal/failure.ts";
import { interruptible } from "../../../terminal/interrupt.ts";
import { say } from "../../../terminal/streams.ts";
import { type AdapterToMerge, adaptCheckpoint } from "../../adapter/adapted-checkpoint.ts";
import { openAdapter, withAdapter } from "../../adapter/index.ts";
import { adaptWeights } from "../../adapter/merge.ts";
import type { WeightChanges } from "../../adapter/weight-change.ts";
import { type Checkpoint, describeCheckpoint, openCheckpoint } from "../../checkpoint/index.ts";
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
      await withAdapters(adapters, factors, model, signal, async (read) => {
        const { checkpoint, ...adapted } = await adaptCheckpoint(model, read);
        for (const warning of checkpoint.warnings.slice(model.warnings.length)) say(`warning: ${warning}`);
        const { dtype } = flags;
        const base = model.weights.tensors;
        await writeModel(folder, checkpoint, { dtype, base, ...adapted, signal, what: "Merging" });
      });
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

/** What `use` makes of all of the adapters, whose files are there as long as it takes. */
async function withAdapters(
  sources: readonly string[],
  factors: readonly number[],
  model: Checkpoint,
  signal: AbortSignal,
  use: (adapters: readonly AdapterToMerge[]) => Promise<void>,
): Promise<void> {
  const read: AdapterToMerge[] = [];
  const next = async (i: number): Promise<void> => {
    const source = sources[i];
    if (source === undefined) return use(read);
    const options = { name: source, base: model.publishedName, signal };
    await withAdapter(source, model.config, options, async (adapter, name) => {
      for (const warning of adapter.warnings) say(`warning: ${warning}`);
      read.push({ ...adapter, name, factor: factors[i]! });
      await next(i + 1);
    });
  };
  await next(0);
}

/**
 * What adapters of pairs alone change.
 * @throws ADAPTER_UNSUPPORTED for one that brings weights of its own
 */
export async function readChanges(
  adapters: readonly string[],
  factors: readonly number[],
  model: Checkpoint,
  signal: AbortSignal,
): Promise<WeightChanges> {
  const opened = [];
  for (const [i, source] of adapters.entries()) {
    const options = { name: source, base: model.publishedName, signal };
    const { modules, warnings } = await openAdapter(source, model.config, options);
    for (const warning of warnings) say(`warning: ${warning}`);
    opened.push({ modules, name: source, factor: factors[i]! });
  }
  return adaptWeights(model.weights, opened).changes;
}
