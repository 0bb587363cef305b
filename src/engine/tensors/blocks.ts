import type { BlockType } from "../engine.ts";
import { halfAt } from "./half.ts";
import { dequantizeQ2K, dequantizeQ3K, dequantizeQ4K, dequantizeQ5K, dequantizeQ6K } from "./k-blocks.ts";
import { blockLayouts } from "./stored-types.ts";

/** Writes one block's weights from `at` on in `to`; `from` is the block's first byte in `bytes`. */
export type DequantizeBlock = (bytes: DataView, from: number, to: Float32Array, at: number) => void;

const formats: Readonly<Record<BlockType, DequantizeBlock>> = {
  Q4_0: dequantizeQ4_0,
  Q4_1: dequantizeQ4_1,
  Q5_0: dequantizeQ5_0,
  Q5_1: dequantizeQ5_1,
  Q8_0: dequantizeQ8_0,
  Q2_K: dequantizeQ2K,
  Q3_K: dequantizeQ3K,
  Q4_K: dequantizeQ4K,
  Q5_K: dequantizeQ5K,
  Q6_K: dequantizeQ6K,
};

/**
 * Whole blocks as float32. Products of scale and code are exact in a double, so that the one rounding at the end gives
 * the bits of ggml's and gguf-py's float32 arithmetic (and of native/kernels/blocks.cpp).
 */
export function dequantizeBlocks(type: BlockType, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const layout = blockLayouts[type];
  const count = Math.floor(bytes.length / layout.bytes);
  const values = new Float32Array(count * layout.elements);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const dequantize = formats[type];
  for (let i = 0; i < count; i++) dequantize(view, i * layout.bytes, values, i * layout.elements);
  return values;
}

/** f16 scale, 16 bytes of nibbles: the low ones are weights 0 to 15. */
function dequantizeQ4_0(bytes: DataView, from: number, to: Float32Array, at: number): void {
  const scale = halfAt(bytes, from);
  for (let i = 0; i < 16; i++) {
    const pair = bytes.getUint8(from + 2 + i);
    to[at + i] = scale * ((pair & 15) - 8);
    to[at + 16 + i] = scale * ((pair >> 4) - 8);
  }
}

/** f16 scale, f16 minimum, nibbles as in Q4_0. */
function dequantizeQ4_1(bytes: DataView, from: number, to: Float32Array, at: number): void {
  const scale = halfAt(bytes, from);
  const minimum = halfAt(bytes, from + 2);
  for (let i = 0; i < 16; i++) {
    const pair = bytes.getUint8(from + 4 + i);
    to[at + i] = scale * (pair & 15) + minimum;
    to[at + 16 + i] = scale * (pair >> 4) + minimum;
  }
}

/** f16 scale, a fifth bit for each weight, nibbles as in Q4_0. */
function dequantizeQ5_0(bytes: DataView, from: number, to: Float32Array, at: number): void {
  const scale = halfAt(bytes, from);
  const fifth = bytes.getUint32(from + 2, true);
  for (let i = 0; i < 16; i++) {
    const pair = bytes.getUint8(from + 6 + i);
    to[at + i] = scale * (((pair & 15) | (((fifth >>> i) & 1) << 4)) - 16);
    to[at + 16 + i] = scale * (((pair >> 4) | (((fifth >>> (i + 16)) & 1) << 4)) - 16);
  }
}

/** f16 scale, f16 minimum, fifth bits, nibbles. */
function dequantizeQ5_1(bytes: DataView, from: number, to: Float32Array, at: number): void {
  const scale = halfAt(bytes, from);
  const minimum = halfAt(bytes, from + 2);
  const fifth = bytes.getUint32(from + 4, true);
  for (let i = 0; i < 16; i++) {
    const pair = bytes.getUint8(from + 8 + i);
    to[at + i] = scale * ((pair & 15) | (((fifth >>> i) & 1) << 4)) + minimum;
    to[at + 16 + i] = scale * ((pair >> 4) | (((fifth >>> (i + 16)) & 1) << 4)) + minimum;
  }
}

/** f16 scale, 32 signed bytes. */
function dequantizeQ8_0(bytes: DataView, from: number, to: Float32Array, at: number): void {
  const scale = halfAt(bytes, from);
  for (let i = 0; i < 32; i++) to[at + i] = scale * bytes.getInt8(from + 2 + i);
}
