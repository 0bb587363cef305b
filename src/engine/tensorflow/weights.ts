import { type FileHandle, open } from "node:fs/promises";
import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import { CodedError } from "../../errors/index.ts";
import type { LoadOptions, ModelWeights, TensorSource, WeightType } from "../engine.ts";
import type { TensorFlow } from "./backend.ts";

const bytesOf: Record<WeightType, number> = { F32: 4, F16: 2, BF16: 2 };

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
  const elements = source.shape.reduce((a, b) => a * b, 1);
  const bytes = Buffer.alloc(elements * bytesOf[source.dtype]);
  // One read returns at most 2 GiB.
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(bytes.length - done, 2 ** 30), source.offset + done);
    if (bytesRead === 0) throw new CodedError("CHECKPOINT_CORRUPT", `${source.file}: tensor "${name}" ends early`);
    done += bytesRead;
  }
  if (source.dtype === "F32") return new Float32Array(bytes.buffer, bytes.byteOffset, elements);
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, elements);
  return source.dtype === "BF16" ? fromBrainFloat(halves) : fromHalf(halves);
}

function fromBrainFloat(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** IEEE 754 binary16. */
function fromHalf(halves: Uint16Array): Float32Array {
  return Float32Array.from(halves, (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >>> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/** The output matrix [vocab, hidden]: the embedding where the head is tied. */
export function headOf(tensors: ReadonlyMap<string, Tensor>, tied: boolean): Tensor2D {
  return tensors.get(tied ? "model.embed_tokens.weight" : "lm_head.weight") as Tensor2D;
}
