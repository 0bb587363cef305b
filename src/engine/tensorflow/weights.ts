import { type FileHandle, open } from "node:fs/promises";
import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { CodedError } from "../../errors/index.ts";
import type { LoadOptions, ModelWeights, TensorSource } from "../engine.ts";
import { storedBytes } from "../tensors/stored-types.ts";
import { tensorValues } from "../tensors/values.ts";
import type { TensorFlow } from "./backend.ts";

/** All tensors of a checkpoint as float32: TensorFlow.js has no 16-bit type. The caller disposes them. */
export async function loadTensors(
  tf: TensorFlow,
  { tensors }: ModelWeights,
  { onProgress, signal }: LoadOptions = {},
): Promise<Map<string, Tensor>> {
  const loaded = new Map<string, Tensor>();
  const handles = new Map<string, FileHandle>();
  try {
    for (const [name, source] of tensors) {
      signal?.throwIfAborted();
      const handle = handles.get(source.file) ?? (await open(source.file));
      handles.set(source.file, handle);
      loaded.set(name, tf.tensor(await readFloats(handle, name, source), [...source.shape]));
      onProgress?.(loaded.size / tensors.size);
    }
    return loaded;
  } catch (error) {
    tf.dispose([...loaded.values()]);
    throw error;
  } finally {
    await Promise.all([...handles.values()].map((handle) => handle.close()));
  }
}

/** One tensor's elements as float32. */
async function readFloats(handle: FileHandle, name: string, source: TensorSource): Promise<Float32Array> {
  const size = storedBytes(source.dtype, source.shape);
  if (size === null) {
    const what = `tensor "${name}" of shape [${source.shape}] cannot be ${source.dtype}`;
    throw new CodedError("CHECKPOINT_CORRUPT", `${source.file}: ${what}`);
  }
  const bytes = new Uint8Array(size);
  // One read returns at most 2 GiB.
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(bytes.length - done, 2 ** 30), source.offset + done);
    if (bytesRead === 0) throw new CodedError("CHECKPOINT_CORRUPT", `${source.file}: tensor "${name}" ends early`);
    done += bytesRead;
  }
  return tensorValues(source, bytes);
}

/** The output matrix [vocab, hidden]: the embedding where the head is tied. */
export function headOf(tensors: ReadonlyMap<string, Tensor>, tied: boolean): Tensor2D {
  return tensors.get(tied ? "model.embed_tokens.weight" : "lm_head.weight") as Tensor2D;
}
