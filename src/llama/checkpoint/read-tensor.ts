import type { TensorSource } from "../../engine/engine.ts";
import { openRegularFile, readBytes } from "../regular-file.ts";
import { checkpointErrors } from "./safetensors.ts";

/** Reads one tensor as float32; float16 and bfloat16 are widened exactly. Meant for adapters: the copy is in JavaScript. */
export async function readTensor(source: TensorSource, errors = checkpointErrors): Promise<Float32Array> {
  const count = source.shape.reduce((product, size) => product * size, 1);
  const handle = await openRegularFile(source.file, errors);
  try {
    const width = source.dtype === "F32" ? 4 : 2;
    const bytes = await readBytes(handle, source.file, source.offset, count * width, errors.corrupt);
    if (source.dtype === "F32") return new Float32Array(bytes.buffer, bytes.byteOffset, count);
    const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, count);
    return source.dtype === "BF16" ? widenBfloat16(halves) : widenFloat16(halves);
  } finally {
    await handle.close();
  }
}

function widenBfloat16(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** IEEE 754 binary16 */
function widenFloat16(halves: Uint16Array): Float32Array {
  const values = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i]!;
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 31) values[i] = fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    else if (exponent === 0) values[i] = sign * fraction * 2 ** -24;
    else values[i] = sign * (1024 + fraction) * 2 ** (exponent - 25);
  }
  return values;
}
