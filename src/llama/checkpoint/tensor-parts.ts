import type { TensorSource } from "../../engine/engine.ts";
import { storedBytes } from "../../engine/tensors/stored-types.ts";
import { readTensor } from "./read-tensor.ts";

/** Some rows of a tensor, float32. A vector is one row. */
export interface TensorPart {
  /** Number of the first row. */
  readonly first: number;
  readonly values: Float32Array;
}

/** Numbers of a part: 16 MiB of float32. */
const partSize = 2 ** 22;

/**
 * The tensor from its first row to its last, float32, read as it is taken.
 * @param together each part holds a multiple of so many rows (those of an attention head)
 */
export async function* tensorParts(source: TensorSource, together = 1): AsyncGenerator<TensorPart> {
  if (source.shape.length !== 2) {
    yield { first: 0, values: await readTensor(source) };
    return;
  }
  const [rows, columns] = source.shape as [number, number];
  if (source.interleavedHeads !== undefined) together = rows / source.interleavedHeads;
  const step = Math.max(1, Math.floor(partSize / (columns * together))) * together;
  for (let first = 0; first < rows; first += step) {
    yield { first, values: await readTensor(rowsOf(source, first, Math.min(step, rows - first))) };
  }
}

/** `count` rows of a matrix from `first` on, as a tensor of their own. */
function rowsOf(source: TensorSource, first: number, count: number): TensorSource {
  const { dtype, interleavedHeads } = source;
  const [rows, columns] = source.shape as [number, number];
  const shape = [count, columns];
  // Shapes that are no whole blocks are refused when the checkpoint is opened.
  const offset = source.offset + storedBytes(dtype, [first, columns])!;
  const heads = interleavedHeads === undefined ? undefined : (interleavedHeads * count) / rows;
  return { ...source, offset, shape, interleavedHeads: heads };
}
