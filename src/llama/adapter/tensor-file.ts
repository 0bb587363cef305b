import { existsSync } from "node:fs";
import { join } from "node:path";
import type { TensorSource } from "../../engine/engine.ts";
import { isStoredType } from "../../engine/tensors/stored-types.ts";
import { CodedError, isCodedError } from "../../errors/index.ts";
import { readPytorchHeader } from "../checkpoint/pytorch/read.ts";
import { readTensor } from "../checkpoint/read-tensor.ts";
import { readSafetensorsHeader } from "../checkpoint/safetensors.ts";
import type { TensorEntry } from "../checkpoint/tensors.ts";

export const tensorsName = "adapter_model.safetensors";
/** What PEFT wrote before it knew safetensors: a state dict of PyTorch's. */
export const pickleName = "adapter_model.bin";

/** A tensor of an adapter's file, in whatever format. */
export interface AdapterTensor extends TensorEntry {
  /** Of a view in a PyTorch file that is not contiguous. */
  readonly strides?: readonly number[] | null;
}

export interface AdapterTensors {
  /** The file as messages name it. */
  readonly label: string;
  readonly tensors: ReadonlyMap<string, AdapterTensor>;
}

export const adapterErrors = {
  missing: "ADAPTER_NOT_FOUND",
  corrupt: "ADAPTER_CORRUPT",
  unsupported: "ADAPTER_UNSUPPORTED",
} as const;

const emptyHint = "A known fault of old training scripts: the adapter was saved empty. It has to be trained again.";

/**
 * The tensors of a PEFT folder: adapter_model.safetensors, else adapter_model.bin. Headers only are read.
 * @param name the folder's in messages
 * @throws ADAPTER_NOT_FOUND, ADAPTER_CORRUPT, ADAPTER_UNSUPPORTED
 */
export async function openTensors(folder: string, name: string, mostHeaderBytes: number): Promise<AdapterTensors> {
  const found = [tensorsName, pickleName].find((file) => existsSync(join(folder, file)));
  if (found === undefined) {
    throw new CodedError("ADAPTER_NOT_FOUND", `${name}: there is neither ${tensorsName} nor ${pickleName}`);
  }
  const [file, label] = [join(folder, found), `${name}/${found}`];
  const tensors =
    found === tensorsName
      ? (await readSafetensorsHeader(file, adapterErrors, mostHeaderBytes)).tensors
      : await pickledTensors(file, mostHeaderBytes);
  if (tensors.size === 0) {
    throw new CodedError("ADAPTER_CORRUPT", `${label}: holds no tensors`, { hint: emptyHint });
  }
  return { label, tensors };
}

async function pickledTensors(file: string, mostHeaderBytes: number) {
  try {
    return await readPytorchHeader(file, adapterErrors, mostHeaderBytes);
  } catch (error) {
    // The reader's own hint is for whole models.
    if (!isCodedError(error) || !error.message.endsWith("holds no tensors by name")) throw error;
    throw new CodedError("ADAPTER_CORRUPT", `${file}: holds no tensors`, { hint: emptyHint, cause: error });
  }
}

/**
 * The tensor's elements as float32, in Hugging Face's order.
 * @param what names it in messages: file and tensor
 * @throws ADAPTER_UNSUPPORTED for a type of number, ADAPTER_CORRUPT for numbers that are not finite
 */
export async function adapterValues(tensor: AdapterTensor, what: string): Promise<Float32Array<ArrayBuffer>> {
  const { dtype, strides = null } = tensor;
  if (!isStoredType(dtype)) {
    throw new CodedError("ADAPTER_UNSUPPORTED", `${what} has type ${dtype}`, {
      hint: "F32, F16 and BF16 can be read.",
    });
  }
  const source = { ...tensor, dtype };
  const values = strides === null ? await readTensor(source, adapterErrors) : await gathered(source, strides);
  if (!values.every(Number.isFinite)) {
    throw new CodedError("ADAPTER_CORRUPT", `${what} holds a value that is not a finite number`);
  }
  return values;
}

/** A view's elements, row by row. Memory: the part of its storage that it spans, as float32. */
async function gathered(source: TensorSource, strides: readonly number[]): Promise<Float32Array<ArrayBuffer>> {
  const { shape } = source;
  const result = new Float32Array(shape.reduce((product, size) => product * size, 1));
  if (result.length === 0) return result;
  const span = shape.reduce((sum, size, i) => sum + (size - 1) * strides[i]!, 1);
  const stored = await readTensor({ ...source, shape: [span] }, adapterErrors);
  const index = shape.map(() => 0);
  for (let to = 0, from = 0; to < result.length; to++) {
    result[to] = stored[from]!;
    // Counts up the last dimension, and carries over into those before it.
    for (let i = shape.length - 1; i >= 0; i--) {
      index[i]!++;
      from += strides[i]!;
      if (index[i]! < shape[i]!) break;
      from -= index[i]! * strides[i]!;
      index[i] = 0;
    }
  }
  return result;
}
