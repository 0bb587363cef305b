import type { WeightType } from "../../engine/engine.ts";
import { writeWhole } from "../../temporary/whole.ts";
import { narrow, widthOf } from "./narrow.ts";

export interface TensorToWrite {
  readonly name: string;
  readonly shape: readonly number[];
  /** product(shape) values, row-major; narrowed to `dtype` with round-to-nearest-even. */
  readonly data: Float32Array;
  /** F32 where not given. */
  readonly dtype?: WeightType;
}

/** A tensor that is never in memory as a whole. */
export interface StreamedTensor extends Omit<TensorToWrite, "data"> {
  /** The values in order while the file is written; a Uint8Array holds bytes of `dtype` already. */
  readonly parts: () => AsyncIterable<Float32Array | Uint8Array>;
}

/**
 * Writes a safetensors file in the reference writer's order (widest type first, then by name), the header padded so
 * that the data begin at a multiple of 8. The file appears complete or not at all.
 * @param onBytes told of the bytes of tensors as they are written
 * Throws RangeError for a tensor whose data do not fill its shape, or a name given twice.
 */
export async function writeSafetensors(
  file: string,
  tensors: Iterable<TensorToWrite | StreamedTensor>,
  metadata: Readonly<Record<string, string>> = { format: "pt" },
  onBytes: (bytes: number) => void = () => {},
): Promise<void> {
  const sorted = [...tensors].sort((a, b) => typeOrder(a) - typeOrder(b) || compareNames(a.name, b.name));
  const header = headerOf(sorted, metadata);
  await writeWhole(file, async (handle) => {
    await handle.writeFile(header);
    for (const tensor of sorted) {
      let written = 0;
      for await (const part of encodedParts(tensor)) {
        await handle.writeFile(part);
        onBytes(part.length);
        written += part.length;
      }
      if (written !== tensorBytes(tensor)) {
        throw new RangeError(`tensor "${tensor.name}": ${written} bytes for shape [${tensor.shape}]`);
      }
    }
  });
}

/** Bytes that the tensor takes in the file. */
export function tensorBytes({ shape, dtype = "F32" }: Pick<TensorToWrite, "shape" | "dtype">): number {
  return shape.reduce((product, size) => product * size, 1) * widthOf(dtype);
}

/** Bytes of a tensor in its type, part by part. */
export async function* encodedParts(tensor: TensorToWrite | StreamedTensor): AsyncGenerator<Uint8Array> {
  const { dtype = "F32" } = tensor;
  const parts = "data" in tensor ? [tensor.data] : tensor.parts();
  for await (const part of parts) yield part instanceof Float32Array ? narrow(part, dtype) : part;
}

function headerOf(
  tensors: readonly (TensorToWrite | StreamedTensor)[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  // Joined by hand: an object literal would not keep a tensor called "__proto__".
  const members = [`"__metadata__":${JSON.stringify(metadata)}`];
  const names = new Set(["__metadata__"]);
  let offset = 0;
  for (const tensor of tensors) {
    const { name, shape, dtype = "F32" } = tensor;
    if (names.has(name)) throw new RangeError(`tensor "${name}" is given twice`);
    names.add(name);
    const bytes = tensorBytes(tensor);
    if ("data" in tensor && bytes !== tensor.data.length * widthOf(dtype)) {
      throw new RangeError(`tensor "${name}": ${tensor.data.length} values for shape [${shape}]`);
    }
    const end = offset + bytes;
    members.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [offset, end] })}`);
    offset = end;
  }
  const json = Buffer.from(`{${members.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  const header = Buffer.alloc(8 + length, " ");
  header.writeBigUInt64LE(BigInt(length), 0);
  json.copy(header, 8);
  return header;
}

function typeOrder({ dtype = "F32" }: Pick<TensorToWrite, "dtype">): number {
  return ["F32", "BF16", "F16"].indexOf(dtype);
}

/** Order of the UTF-8 bytes. */
function compareNames(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
