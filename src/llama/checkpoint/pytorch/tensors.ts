import type { SafetensorsEntry } from "../safetensors.ts";
import { widthOf } from "./dtypes.ts";
import { quoted, type Refusal } from "./refusal.ts";
import { Dict, PickledTensor, type Storage, type Value } from "./values.ts";

/** A tensor in a PyTorch file. Without strides its elements lie one after another, as in safetensors. */
export interface PytorchEntry extends SafetensorsEntry {
  /** Elements from one index to the next, for each dimension, of a view that is not contiguous; null of one that is. */
  readonly strides: readonly number[] | null;
}

/** Where a storage's bytes lie. */
export interface StoragePlace {
  readonly offset: number;
  readonly bytes: number;
}

/** Where training programs put the model in what else they save. */
const wrappers = new Set<Value>(["state_dict", "model_state_dict", "model", "module"]);

/**
 * The tensors of a state dict by name: the pickle's own, or that under "state_dict", "model" or the like. Other values are left
 * out.
 * @throws unsupported where there is no tensor with a name, corrupt for a name given twice
 */
export function namedTensors(root: Value, refusal: Refusal): Map<string, PickledTensor> {
  if (root instanceof Dict) {
    for (const [key, value] of root.entries()) {
      if (!wrappers.has(key) || !(value instanceof Dict)) continue;
      const wrapped = tensorsOf(value, refusal);
      if (wrapped.size > 0) return wrapped;
    }
    const tensors = tensorsOf(root, refusal);
    if (tensors.size > 0) return tensors;
  }
  return refusal.unsupported("holds no tensors by name", "Save a state dict: torch.save(model.state_dict(), file)");
}

function tensorsOf(dict: Dict, refusal: Refusal): Map<string, PickledTensor> {
  const tensors = new Map<string, PickledTensor>();
  for (const [name, value] of dict.entries()) {
    if (typeof name !== "string" || !(value instanceof PickledTensor)) continue;
    if (tensors.has(name)) refusal.corrupt(`holds tensor ${quoted(name)} twice`);
    tensors.set(name, value);
  }
  return tensors;
}

/**
 * The tensor's place in the file.
 * @throws corrupt for a storage that has fewer bytes than it says, and a view that reaches past its storage; unsupported
 * for one that is larger than its storage
 */
export function placeTensor(
  name: string,
  { storage, dtype, offset, shape, strides }: PickledTensor,
  place: StoragePlace,
  refusal: Refusal,
): PytorchEntry {
  const width = widthOf(dtype);
  const available = storageBytes(storage);
  if (available > place.bytes) {
    refusal.corrupt(`storage ${quoted(storage.key)} has ${place.bytes} bytes, and its tensors take ${available}`);
  }
  const count = shape.reduce((product, size) => product * size, 1);
  const last = shape.reduce((sum, size, i) => sum + (size - 1) * strides[i]!, offset);
  const isWithin = Number.isSafeInteger(last) && (last + 1) * width <= available;
  if (count > 0 && !isWithin) refusal.corrupt(`tensor ${quoted(name)} reaches past the end of its storage`);
  const bytes = count * width;
  // An expanded tensor's copy could be of any size.
  if (bytes > available) {
    refusal.unsupported(`tensor ${quoted(name)} repeats elements of its storage`, "Save a contiguous copy of it");
  }
  const start = place.offset + (count > 0 ? offset * width : 0);
  const { file } = refusal;
  return { file, offset: start, bytes, dtype, shape, strides: isContiguous(shape, strides) ? null : strides };
}

export function storageBytes({ count, dtype }: Storage): number {
  return count * (dtype === null ? 1 : widthOf(dtype));
}

/** A dimension of one index has any stride, and an empty tensor no elements to lie anywhere. */
function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== expected) return shape.includes(0);
    expected *= shape[i]!;
  }
  return true;
}
