import type { FileHandle } from "node:fs/promises";
import type { StoredType } from "../../../engine/engine.ts";
import { storedBytes } from "../../../engine/tensors/stored-types.ts";
import { writeWhole } from "../../../temporary/whole.ts";
import { ggmlTypes } from "./types.ts";

/** A value with GGUF's type for it. */
export type GgufWritten =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly text: string }
  | { readonly texts: readonly string[] }
  | { readonly f32s: readonly number[] }
  | { readonly i32s: readonly number[] };

export interface GgufTensorToWrite {
  readonly name: string;
  readonly dtype: StoredType;
  /** Row-major; the file has it the other way round. */
  readonly shape: readonly number[];
  /** The bytes of `dtype` in order, while the file is written. */
  readonly parts: () => AsyncIterable<Uint8Array>;
}

const alignment = 32;
const typeIds = new Map([...ggmlTypes].map(([id, { name }]) => [name, id]));

/** Bytes that a tensor takes. */
export function ggufBytes({ dtype, shape }: Pick<GgufTensorToWrite, "dtype" | "shape">): number {
  return storedBytes(dtype, shape)!;
}

/**
 * Writes a GGUF file of version 3, little-endian. The file appears complete or not at all.
 * @param onBytes told of the bytes of tensors as they are written
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export async function writeGguf(
  file: string,
  metadata: ReadonlyMap<string, GgufWritten>,
  tensors: readonly GgufTensorToWrite[],
  onBytes: (bytes: number) => void = () => {},
): Promise<void> {
  await writeWhole(file, async (handle) => {
    await handle.writeFile(headerOf(metadata, tensors));
    for (const tensor of tensors) await writeTensor(handle, tensor, onBytes);
  });
}

async function writeTensor(handle: FileHandle, tensor: GgufTensorToWrite, onBytes: (bytes: number) => void) {
  let written = 0;
  for await (const part of tensor.parts()) {
    await handle.writeFile(part);
    onBytes(part.length);
    written += part.length;
  }
  const bytes = ggufBytes(tensor);
  if (written !== bytes) throw new RangeError(`tensor "${tensor.name}": ${written} bytes, its shape takes ${bytes}`);
  await handle.writeFile(Buffer.alloc(aligned(bytes) - bytes));
}

function headerOf(metadata: ReadonlyMap<string, GgufWritten>, tensors: readonly GgufTensorToWrite[]): Buffer {
  const parts: Buffer[] = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(metadata.size)];
  for (const [key, value] of metadata) parts.push(text(key), ...encoded(value));
  let offset = 0;
  for (const tensor of tensors) {
    const { name, shape, dtype } = tensor;
    parts.push(text(name), u32(shape.length), ...shape.toReversed().map(u64), u32(typeIds.get(dtype)!), u64(offset));
    offset += aligned(ggufBytes(tensor));
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(aligned(header.length) - header.length)]);
}

function encoded(value: GgufWritten): Buffer[] {
  if ("u32" in value) return [u32(4), u32(value.u32)];
  if ("f32" in value) return [u32(6), f32(value.f32)];
  if ("bool" in value) return [u32(7), Buffer.of(value.bool ? 1 : 0)];
  if ("text" in value) return [u32(8), text(value.text)];
  if ("texts" in value) return [u32(9), u32(8), u64(value.texts.length), ...value.texts.map(text)];
  if ("f32s" in value) return [u32(9), u32(6), u64(value.f32s.length), ...value.f32s.map(f32)];
  return [u32(9), u32(5), u64(value.i32s.length), ...value.i32s.map(i32)];
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function i32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}
