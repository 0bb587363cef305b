import { blockLayouts } from "../../../engine/tensors/stored-types.ts";
import { float16 } from "../narrow.ts";

/** Block types that can be written. */
export const writableBlocks = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"] as const;
export type WritableBlock = (typeof writableBlocks)[number];

/** Writes a block's bytes from `at` on in `to`; `from` is its first number in `values`. */
type QuantizeBlock = (values: Float32Array, from: number, to: DataView, at: number) => void;

const size = 32;
const { fround } = Math;

const formats: Readonly<Record<WritableBlock, QuantizeBlock>> = {
  Q4_0: (values, from, to, at) => {
    const { scale, codes } = signed(values, from, 8);
    to.setUint16(at, half(scale), true);
    writeNibbles(codes, to, at + 2);
  },
  Q4_1: (values, from, to, at) => {
    const { scale, least, codes } = ranged(values, from, 15);
    to.setUint16(at, half(scale), true);
    to.setUint16(at + 2, half(least), true);
    writeNibbles(codes, to, at + 4);
  },
  Q5_0: (values, from, to, at) => {
    const { scale, codes } = signed(values, from, 16);
    to.setUint16(at, half(scale), true);
    to.setUint32(at + 2, fifthBits(codes), true);
    writeNibbles(codes, to, at + 6);
  },
  Q5_1: (values, from, to, at) => {
    const { scale, least, codes } = ranged(values, from, 31);
    to.setUint16(at, half(scale), true);
    to.setUint16(at + 2, half(least), true);
    to.setUint32(at + 4, fifthBits(codes), true);
    writeNibbles(codes, to, at + 8);
  },
  Q8_0: (values, from, to, at) => {
    let most = 0;
    for (let i = 0; i < size; i++) most = Math.max(most, Math.abs(values[from + i]!));
    const scale = fround(most / 127);
    const inverse = scale === 0 ? 0 : fround(1 / scale);
    to.setUint16(at, half(scale), true);
    for (let i = 0; i < size; i++) to.setInt8(at + 2 + i, awayFromZero(fround(values[from + i]! * inverse)));
  },
};

/**
 * Numbers as whole blocks of 32, each step rounded to float32 as in quantize_row_*_ref of ggml-quants.c: the bytes are
 * those of ggml and gguf-py. https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c
 */
export function quantizeBlocks(type: WritableBlock, values: Float32Array): Uint8Array {
  const { bytes } = blockLayouts[type];
  const blocks = values.length / size;
  const result = new Uint8Array(blocks * bytes);
  const view = new DataView(result.buffer);
  const quantize = formats[type];
  for (let i = 0; i < blocks; i++) quantize(values, i * size, view, i * bytes);
  return result;
}

const codesOfBlock = new Uint8Array(size);

/** Codes 0 .. 2 · half - 1 around half; the number farthest from zero gets code 0. */
function signed(values: Float32Array, from: number, halfRange: number): { scale: number; codes: Uint8Array } {
  let farthest = values[from]!;
  for (let i = 1; i < size; i++) {
    const value = values[from + i]!;
    if (Math.abs(value) > Math.abs(farthest)) farthest = value;
  }
  const scale = fround(farthest / -halfRange);
  const inverse = scale === 0 ? 0 : fround(1 / scale);
  for (let i = 0; i < size; i++) {
    const code = Math.trunc(fround(fround(values[from + i]! * inverse) + (halfRange + 0.5)));
    codesOfBlock[i] = Math.min(code, 2 * halfRange - 1);
  }
  return { scale, codes: codesOfBlock };
}

/** Codes 0 .. most from the least number to the greatest. */
function ranged(values: Float32Array, from: number, most: number): { scale: number; least: number; codes: Uint8Array } {
  let [least, greatest] = [values[from]!, values[from]!];
  for (let i = 1; i < size; i++) {
    // As in C, of two zeros the first: Math.min would take the negative one.
    if (values[from + i]! < least) least = values[from + i]!;
    if (values[from + i]! > greatest) greatest = values[from + i]!;
  }
  const scale = fround(fround(greatest - least) / most);
  const inverse = scale === 0 ? 0 : fround(1 / scale);
  for (let i = 0; i < size; i++) {
    const code = Math.trunc(fround(fround(fround(values[from + i]! - least) * inverse) + 0.5));
    codesOfBlock[i] = Math.min(code, most);
  }
  return { scale, least, codes: codesOfBlock };
}

/** 16 bytes: the first half of the block in the low nibbles. */
function writeNibbles(codes: Uint8Array, to: DataView, at: number): void {
  for (let i = 0; i < 16; i++) to.setUint8(at + i, (codes[i]! & 15) | ((codes[i + 16]! & 15) << 4));
}

function fifthBits(codes: Uint8Array): number {
  let bits = 0;
  for (let i = 0; i < size; i++) bits |= ((codes[i]! >> 4) & 1) << i;
  return bits >>> 0;
}

/** C's roundf. */
function awayFromZero(value: number): number {
  const whole = Math.floor(Math.abs(value));
  const rounded = whole + (Math.abs(value) - whole >= 0.5 ? 1 : 0);
  return value < 0 ? -rounded : rounded;
}

const scratch = new DataView(new ArrayBuffer(4));

function half(value: number): number {
  scratch.setFloat32(0, value);
  return float16(scratch.getUint32(0));
}
