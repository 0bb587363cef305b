import { type FileHandle, open, rename, rm } from "node:fs/promises";
import type { WeightType } from "../../engine/engine.ts";
import { pathBeside } from "../../temporary/beside.ts";

export interface TensorToWrite {
  readonly name: string;
  readonly shape: readonly number[];
  /** product(shape) values, row-major; narrowed to `dtype` with round-to-nearest-even. */
  readonly data: Float32Array;
  /** F32 where not given. */
  readonly dtype?: WeightType;
}

/**
 * Writes a safetensors file in the reference writer's order (widest type first, then by name), the header padded so
 * that the data begin at a multiple of 8. The file appears complete or not at all.
 * Throws RangeError for a tensor whose data do not fill its shape, or a name given twice.
 */
export async function writeSafetensors(
  file: string,
  tensors: Iterable<TensorToWrite>,
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): Promise<void> {
  const sorted = [...tensors].sort((a, b) => typeOrder(a) - typeOrder(b) || compareNames(a.name, b.name));
  const header = headerOf(sorted, metadata);
  await writeWhole(file, async (handle) => {
    await handle.writeFile(header);
    for (const { data, dtype = "F32" } of sorted) await handle.writeFile(narrow(data, dtype));
  });
}

/** Writes next to the target and renames, so that a reader or a crash never meets a partial file. */
async function writeWhole(file: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const temporary = pathBeside(file);
  try {
    const handle = await open(temporary, "wx");
    try {
      await write(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function headerOf(tensors: readonly TensorToWrite[], metadata: Readonly<Record<string, string>>): Uint8Array {
  // Joined by hand: an object literal would not keep a tensor called "__proto__".
  const members = [`"__metadata__":${JSON.stringify(metadata)}`];
  const names = new Set(["__metadata__"]);
  let offset = 0;
  for (const { name, shape, data, dtype = "F32" } of tensors) {
    if (names.has(name)) throw new RangeError(`tensor "${name}" is given twice`);
    names.add(name);
    const count = shape.reduce((product, size) => product * size, 1);
    if (count !== data.length) throw new RangeError(`tensor "${name}": ${data.length} values for shape [${shape}]`);
    const end = offset + count * (dtype === "F32" ? 4 : 2);
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

function typeOrder({ dtype = "F32" }: TensorToWrite): number {
  return ["F32", "BF16", "F16"].indexOf(dtype);
}

/** Order of the UTF-8 bytes. */
function compareNames(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function narrow(data: Float32Array, dtype: WeightType): Uint8Array {
  if (dtype === "F32") return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  const halves = new Uint16Array(data.length);
  const half = dtype === "BF16" ? bfloat16 : float16;
  for (let i = 0; i < data.length; i++) halves[i] = half(bits[i]!);
  return new Uint8Array(halves.buffer);
}

/** Bits of a float32 -> bits of the nearest bfloat16, ties to even. */
function bfloat16(bits: number): number {
  if ((bits & 0x7fff_ffff) > 0x7f80_0000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Bits of a float32 -> bits of the nearest binary16, ties to even. */
function float16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fff_ffff;
  if (magnitude > 0x7f80_0000) return sign | 0x7e00;
  // From 65520 on the nearest value is infinity.
  if (magnitude >= 0x477f_f000) return sign | 0x7c00;
  if (magnitude < 0x3880_0000) return sign | roundEven(float32(magnitude) * 2 ** 24);
  return sign | ((magnitude - 0x3800_0000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

const scratch = new DataView(new ArrayBuffer(4));

function float32(bits: number): number {
  scratch.setUint32(0, bits);
  return scratch.getFloat32(0);
}

function roundEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
