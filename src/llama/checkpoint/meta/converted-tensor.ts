import type { WeightType } from "../../../engine/engine.ts";
import { layoutOf } from "../../../engine/tensors/stored-types.ts";
import { readPytorchTensor } from "../pytorch/read-data.ts";
import type { PytorchEntry } from "../pytorch/tensors.ts";
import type { Axis } from "./names.ts";
import { putColumns, uninterleave } from "./rows.ts";

/** A tensor under Hugging Face's name and in its order, to be written into a Hugging Face checkpoint. */
export interface ConvertedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** As in Meta's files. */
  readonly dtype: WeightType;
  /** Little-endian, row-major, contiguous. Each call reads the files again; memory: the tensor and one part of it. */
  read(): Promise<Uint8Array<ArrayBuffer>>;
}

export interface Parts {
  readonly parts: readonly PytorchEntry[];
  readonly axis: Axis;
  /** Heads whose rows are interleaved; null: none are. */
  readonly interleavedHeads: number | null;
}

/** Reads the whole of a tensor that is cut into parts. */
export async function readWhole(
  { dtype, shape }: Pick<ConvertedTensor, "dtype" | "shape">,
  { parts, axis, interleavedHeads }: Parts,
): Promise<Uint8Array<ArrayBuffer>> {
  const { bytes: width } = layoutOf(dtype);
  const rowBytes = shape.at(-1)! * width;
  const whole = axis === null || parts.length === 1 ? await readPytorchTensor(parts[0]!) : await joined();
  if (interleavedHeads !== null) uninterleave(whole, interleavedHeads, rowBytes);
  return whole;

  async function joined(): Promise<Uint8Array<ArrayBuffer>> {
    const result = new Uint8Array(shape.reduce((product, size) => product * size, width));
    let at = 0;
    for (const part of parts) {
      const bytes = await readPytorchTensor(part);
      const columns = part.shape.at(-1)! * width;
      if (axis === 1) putColumns(result, bytes, at, columns, rowBytes);
      else result.set(bytes, at);
      at += axis === 1 ? columns : bytes.length;
    }
    return result;
  }
}
