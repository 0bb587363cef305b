import { openRegularFile, readBytes } from "../../regular-file.ts";
import { widthOf } from "./dtypes.ts";
import { pytorchErrors } from "./refusal.ts";
import type { PytorchEntry } from "./tensors.ts";

/**
 * The bytes of a tensor, row-major and contiguous: a view's elements are gathered by its strides.
 * Memory: the tensor, and for a view the part of its storage that it spans.
 */
export async function readPytorchTensor(entry: PytorchEntry, errors = pytorchErrors): Promise<Uint8Array<ArrayBuffer>> {
  const { file, offset, bytes, strides } = entry;
  const handle = await openRegularFile(file, errors);
  try {
    if (strides === null) return await readBytes(handle, file, offset, bytes, errors.corrupt);
    const span = entry.shape.reduce((sum, size, i) => sum + (size - 1) * strides[i]!, 1);
    const stored = await readBytes(handle, file, offset, span * widthOf(entry.dtype), errors.corrupt);
    return gathered(stored, entry, strides);
  } finally {
    await handle.close();
  }
}

function gathered(
  stored: Uint8Array,
  { bytes, dtype, shape }: PytorchEntry,
  strides: readonly number[],
): Uint8Array<ArrayBuffer> {
  const width = widthOf(dtype);
  const result = new Uint8Array(bytes);
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < bytes; to += width) {
    for (let byte = 0; byte < width; byte++) result[to + byte] = stored[from * width + byte]!;
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
