import type { TensorSource } from "../engine.ts";
import { dequantizeBlocks } from "./blocks.ts";
import { widenBfloat16, widenFloat16 } from "./half.ts";
import { isBlockType } from "./stored-types.ts";

/**
 * A tensor's elements as float32 in Hugging Face's order, from its bytes in the file (at an offset that is a multiple of
 * 4 in their buffer).
 */
export function tensorValues(
  { dtype, shape, interleavedHeads }: Pick<TensorSource, "dtype" | "shape" | "interleavedHeads">,
  bytes: Uint8Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> {
  const values = plainValues(dtype, bytes);
  return interleavedHeads === undefined ? values : halvesFromPairs(values, shape, interleavedHeads);
}

function plainValues(dtype: TensorSource["dtype"], bytes: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  if (isBlockType(dtype)) return dequantizeBlocks(dtype, bytes);
  if (dtype === "F32") return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return dtype === "BF16" ? widenBfloat16(halves) : widenFloat16(halves);
}

/**
 * Rows in Meta's order, pairs (2i, 2i + 1) of a head, into Hugging Face's, (i, i + headDim / 2). A vector (a bias) is one
 * column.
 */
function halvesFromPairs(
  values: Float32Array<ArrayBuffer>,
  shape: readonly number[],
  heads: number,
): Float32Array<ArrayBuffer> {
  const rows = shape[0]!;
  const columns = values.length / rows;
  const headDim = rows / heads;
  const ordered = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    const from = interleavedRow(row, headDim) * columns;
    ordered.set(values.subarray(from, from + columns), row * columns);
  }
  return ordered;
}

/** Where Hugging Face's row lies in Meta's order. */
function interleavedRow(row: number, headDim: number): number {
  const within = row % headDim;
  const half = headDim / 2;
  return row - within + (within < half ? 2 * within : 2 * (within - half) + 1);
}
