import { statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ModelWeights, TensorSource } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import { inStorage } from "../../temporary/failure.ts";
import { removeFolder, temporaryFolder } from "../../temporary/folders.ts";
import { inBase } from "../adapter/merge.ts";
import { changedParts, type WeightChanges } from "../adapter/weight-change.ts";
import { isWeightType, readSafetensorsHeader } from "../checkpoint/safetensors.ts";
import { type StreamedTensor, tensorBytes, writeSafetensors } from "../checkpoint/safetensors-writer.ts";

/** Weights with changes in them. */
export interface MergedWeights {
  readonly weights: ModelWeights;
  /** To be called when an engine has loaded them. */
  remove(): Promise<void>;
}

/**
 * Writes the weights that are changed or replaced into the temporary folder, in float32 arithmetic and rounded once to the
 * base's type (blocks become float32); the others stay in the base's files.
 * @param base the base's own tensors
 * @param log told once how many and how large they are
 * @throws TEMPORARY_FOLDER where there is no room
 */
export async function writeMergedWeights(
  { config, tensors }: ModelWeights,
  changes: WeightChanges,
  base: ReadonlyMap<string, TensorSource>,
  log: (line: string) => void,
): Promise<MergedWeights> {
  const written = [...tensors]
    .filter(([name]) => changes.has(name))
    .map(([name, source]): StreamedTensor => {
      const { dtype } = inBase(name, base);
      return {
        name,
        shape: source.shape,
        dtype: isWeightType(dtype) ? dtype : "F32",
        async *parts() {
          for await (const { values } of changedParts(source, changes.get(name))) yield values;
        },
      };
    });
  const bytes = written.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  const size = `${(bytes / 1e6).toFixed(1)} MB`;
  await checkRoom(bytes, size);
  log(
    `Merging the adapter into the model: ${written.length} of its ${tensors.size} tensors, ${size} in the temporary folder`,
  );
  const folder = await temporaryFolder("merged");
  try {
    const file = join(folder, "model.safetensors");
    await inStorage(writeSafetensors(file, written));
    const found = (await readSafetensorsHeader(file)).tensors;
    const merged = new Map(tensors);
    for (const [name, { offset, dtype, shape }] of found) {
      if (isWeightType(dtype)) merged.set(name, { file, offset, dtype, shape });
    }
    return { weights: { config, tensors: merged }, remove: () => removeFolder(folder) };
  } catch (error) {
    await removeFolder(folder);
    throw error;
  }
}

async function checkRoom(bytes: number, size: string): Promise<void> {
  const { bavail, bsize } = await statfs(tmpdir()).catch(() => ({ bavail: Number.POSITIVE_INFINITY, bsize: 1 }));
  const free = bavail * bsize;
  if (free >= bytes) return;
  const what = `merging the adapter takes ${size}, ${(free / 1e6).toFixed(1)} MB are free`;
  throw new CodedError("TEMPORARY_FOLDER", `the temporary folder has too little room: ${what}`, {
    hint: "Free space in it, set TMPDIR to a larger folder, or merge the adapter once with `llama-lora merge`.",
  });
}
