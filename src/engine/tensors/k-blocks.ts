import { halfAt } from "./half.ts";

/**
 * GGUF's k-quants: super-blocks of 256 weights, cut into parts of 16 or 32 whose scales (and minima) are small integers
 * times the super-block's own. As dequantize_row_q*_K of ggml-quants.c.
 * https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c
 */

/** scales and minima [16] of 4 bits each, codes [64] of 2 bits, f16 scale, f16 minimum. */
export function dequantizeQ2K(bytes: DataView, from: number, to: Float32Array, at: number): void {
  const scale = halfAt(bytes, from + 80);
  const minimum = halfAt(bytes, from + 82);
  for (let part = 0; part < 16; part++) {
    const both = bytes.getUint8(from + part);
    const step = scale * (both & 15);
    const least = minimum * (both >> 4);
    // Eight parts share 32 bytes: two halves of them, at four shifts.
    const codes = from + 16 + (part >> 3) * 32 + (part & 1) * 16;
    const shift = ((part >> 1) & 3) * 2;
    for (let i = 0; i < 16; i++) {
      to[at + part * 16 + i] = step * ((bytes.getUint8(codes + i) >> shift) & 3) - least;
    }
  }
}

/** third bits [32], codes [64] of 2 bits, scales [12] of 6 bits, f16 scale. */
export function dequantizeQ3K(bytes: DataView, from: number, to: Float32Array, at: number): void {
  const scale = halfAt(bytes, from + 108);
  for (let part = 0; part < 16; part++) {
    const low = (bytes.getUint8(from + 96 + (part & 7)) >> (part < 8 ? 0 : 4)) & 15;
    const high = (bytes.getUint8(from + 104 + (part & 3)) >> ((part >> 2) * 2)) & 3;
    const step = scale * ((low | (high << 4)) - 32);
    const within = (part & 1) * 16;
    const codes = from + 32 + (part >> 3) * 32 + within;
    const shift = ((part >> 1) & 3) * 2;
    const third = part >> 1;
    for (let i = 0; i < 16; i++) {
      const code = (bytes.getUint8(codes + i) >> shift) & 3;
      const bit = (bytes.getUint8(from + within + i) >> third) & 1;
      to[at + part * 16 + i] = step * (code - (bit ? 0 : 4));
    }
  }
}

/** f16 scale, f16 minimum, scales and minima [12] of 6 bits, codes [128] of 4 bits. */
export function dequantizeQ4K(bytes: DataView, from: number, to: Float32Array, at: number): void {
  for (let part = 0; part < 8; part++) {
    const { step, least } = sixBits(bytes, from, part);
    const codes = from + 16 + (part >> 1) * 32;
    const shift = (part & 1) * 4;
    for (let i = 0; i < 32; i++) {
      to[at + part * 32 + i] = step * ((bytes.getUint8(codes + i) >> shift) & 15) - least;
    }
  }
}

/** As Q4_K, with fifth bits [32] before the codes. */
export function dequantizeQ5K(bytes: DataView, from: number, to: Float32Array, at: number): void {
  for (let part = 0; part < 8; part++) {
    const { step, least } = sixBits(bytes, from, part);
    const codes = from + 48 + (part >> 1) * 32;
    const shift = (part & 1) * 4;
    for (let i = 0; i < 32; i++) {
      const fifth = (bytes.getUint8(from + 16 + i) >> part) & 1;
      const code = ((bytes.getUint8(codes + i) >> shift) & 15) | (fifth << 4);
      to[at + part * 32 + i] = step * code - least;
    }
  }
}

/** codes' low nibbles [128] and high pairs [64], signed scales [16], f16 scale. */
export function dequantizeQ6K(bytes: DataView, from: number, to: Float32Array, at: number): void {
  const scale = halfAt(bytes, from + 208);
  for (let part = 0; part < 16; part++) {
    const step = scale * bytes.getInt8(from + 192 + part);
    const group = (part >> 1) & 3;
    const within = (part & 1) * 16;
    const low = from + (part >> 3) * 64 + (group & 1) * 32 + within;
    const high = from + 128 + (part >> 3) * 32 + within;
    for (let i = 0; i < 16; i++) {
      const nibble = (bytes.getUint8(low + i) >> (group >> 1 ? 4 : 0)) & 15;
      const pair = (bytes.getUint8(high + i) >> (group * 2)) & 3;
      to[at + part * 16 + i] = step * ((nibble | (pair << 4)) - 32);
    }
  }
}

/** Step and minimum of one of Q4_K's or Q5_K's eight parts. */
function sixBits(bytes: DataView, from: number, part: number): { step: number; least: number } {
  const packed = (i: number) => bytes.getUint8(from + 4 + i);
  const [scale, minimum] =
    part < 4
      ? [packed(part) & 63, packed(part + 4) & 63]
      : [
          (packed(part + 4) & 15) | ((packed(part - 4) >> 6) << 4),
          (packed(part + 4) >> 4) | ((packed(part) >> 6) << 4),
        ];
  return { step: halfAt(bytes, from) * scale, least: halfAt(bytes, from + 2) * minimum };
}
