import { adaptCheckpoint } from "../adapter/adapted-checkpoint.ts";
import { type Adapter, withAdapter } from "../adapter/index.ts";
import { featuresOf } from "../adapter/whole-changes.ts";
import type { Checkpoint } from "../checkpoint/index.ts";
import { writeMergedWeights } from "./merged-weights.ts";
import { type FileLike, placeOf } from "./options.ts";

/** A model with the adapter that it is served with: beside its weights, or in them. */
export interface ServedModel {
  readonly checkpoint: Checkpoint;
  /** To be kept beside the weights; null where it is in them. */
  readonly adapter: Adapter | null;
  /** Removes what was written to load the weights from. */
  remove(): Promise<void>;
}

export interface OwnAdapterOptions {
  readonly log: (line: string) => void;
  readonly warn: (line: string) => void;
}

/**
 * Reads the adapter that a model is to be served with, and merges it into the weights where an engine cannot keep it beside
 * them: DoRA, embeddings and a head of its own, pairs on those.
 * @throws ADAPTER_*, TOKENIZER_*, TEMPORARY_FOLDER
 */
export async function withOwnAdapter(
  base: Checkpoint,
  source: FileLike,
  { log, warn }: OwnAdapterOptions,
): Promise<ServedModel> {
  const { path, name } = placeOf(source);
  const options = { name, base: base.publishedName };
  return withAdapter(path, base.config, options, async (adapter, shownName) => {
    for (const line of adapter.warnings) warn(line);
    const { whole, folder, ...plain } = adapter;
    if (featuresOf(whole).length === 0) return { checkpoint: base, adapter: plain, remove: async () => {} };
    const adapted = await adaptCheckpoint(base, [{ ...adapter, name: shownName, factor: 1 }]);
    const { checkpoint, changes } = adapted;
    for (const line of checkpoint.warnings.slice(base.warnings.length)) warn(line);
    const { weights, remove } = await writeMergedWeights(checkpoint.weights, changes, base.weights.tensors, log);
    return { checkpoint: { ...checkpoint, weights }, adapter: null, remove };
  });
}
