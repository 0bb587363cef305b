import type { WeightType } from "../../engine/engine.ts";

/** Bytes of each number. */
export function widthOf(dtype: WeightType): 2 | 4 {
  return dtype === "F32" ? 4 : 2;
}

/** Little-endian bytes of the numbers as `dtype`, rounded to nearest, ties to even; as F32 the same memory. */
export function narrow(data: Float32Array, dtype: WeightType): Uint8Array {
  if (dtype === "F32") return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  const halves = new Uint16Array(data.length);
  const half = dtype === "BF16" ? bfloat16 : float16;
  for (let i = 0; i < data.length; i++) halves[i] = half(bits[i]!);
  return new Uint8Array(halves.buffer);
}

/** Bits of a float32 -> bits of the nearest bfloat16, ties to even. */
export function bfloat16(bits: number): number {
  if ((bits & 0x7fff_ffff) > 0x7f80_0000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Bits of a float32 -> bits of the nearest binary16, ties to even. */
export function float16(bits: number): number {
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
