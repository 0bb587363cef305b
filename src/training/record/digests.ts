import { createHash } from "node:crypto";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { partsOf } from "../../llama/checkpoint/gguf/parts.ts";
import { hashRows } from "../dataset/hash-rows.ts";
import type { Row } from "../dataset/row.ts";
import { fileSha256 } from "../file-digest.ts";

/** Kinds of files that a model is made of. */
const modelFile = /\.(safetensors|gguf|bin|pth|model|json|jinja)$/i;
/** A larger file is sampled: hashing 13 GB takes longer than loading them. */
const wholeBytes = 16 * 2 ** 20;
const samples = 64;
const sampleBytes = 64 * 1024;

/**
 * SHA-256 by which a base model is known again, in milliseconds: over the size and the content of its files in the order of
 * their names. Of a file beyond 16 MiB the content is 64 pieces of 64 KiB, evenly far apart, the first and the last bytes
 * among them: other weights are told apart, a deliberate change between the pieces is not.
 */
export async function modelDigest({ folder, file }: { folder: string; file: string | null }): Promise<string> {
  const hash = createHash("sha256");
  for (const path of await modelFiles(folder, file)) {
    const { size } = await stat(path);
    hash.update(`${size}\n`);
    const handle = await open(path);
    try {
      for (const [at, length] of pieces(size)) {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, at);
        hash.update(buffer.subarray(0, bytesRead));
      }
    } finally {
      await handle.close();
    }
  }
  return hash.digest("hex");
}

/** Sorted by name; of a split GGUF file all parts. */
async function modelFiles(folder: string, file: string | null): Promise<string[]> {
  if (file !== null) return partsOf(file);
  const paths = (await readdir(folder)).sort().filter((name) => modelFile.test(name));
  const found = await Promise.all(paths.map((name) => stat(join(folder, name)).catch(() => null)));
  return paths.filter((_, i) => found[i]?.isFile()).map((name) => join(folder, name));
}

function pieces(size: number): [at: number, length: number][] {
  if (size <= wholeBytes) return [[0, size]];
  const last = size - sampleBytes;
  return Array.from({ length: samples }, (_, i) => [Math.floor((i * last) / (samples - 1)), sampleBytes]);
}

/** SHA-256 of the file as it was given; null where it is none any more, or was a folder. */
export async function fileDigest(path: string, signal?: AbortSignal): Promise<string | null> {
  if (!(await stat(path).catch(() => null))?.isFile()) return null;
  return fileSha256(path, signal);
}

/** SHA-256 of the rows, a line of JSON each, without where they come from: the same rows in another file have the same. */
export async function rowsDigest(rows: readonly Row[], signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  await hashRows(hash, rows, signal);
  return hash.digest("hex");
}
