import { stat } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import type { ReadEntry } from "tar";
import { CodedError, type ErrorCode, isCodedError } from "../errors/index.ts";
import type { BytesLimit } from "./archive-entries.ts";
import { openRegularFile, type RegularFileOptions } from "./regular-file.ts";
import { unpackZip } from "./unpack-zip.ts";
import { Unpacking } from "./unpacking.ts";
import { localSignature } from "./zip-format.ts";

export interface UnpackOptions extends RegularFileOptions {
  /** The archive's name in messages. */
  readonly name: string;
  /** The code of an archive that is damaged. */
  readonly corrupt: ErrorCode;
  /** Bytes of all files together. */
  readonly maxBytes: number;
  /** The variable that sets it, for the error. */
  readonly variable?: string;
  /** Bytes for each byte of the archive, where they are more than `freeBytes`. */
  readonly maxRatio?: number;
  /** The most bytes that a file may have to be written; null: it is not needed, and only its name is returned. */
  readonly wanted: (path: string) => number | null;
  readonly signal?: AbortSignal | undefined;
}

export type ArchiveKind = "tar" | "gzip" | "zip";

const maxMetaEntrySize = 16 * 1024;

/**
 * What the first bytes of a file say, whatever its name; null is none of these.
 * @throws options.missing where there is no regular file
 */
export async function archiveKind(file: string, options: RegularFileOptions): Promise<ArchiveKind | null> {
  const handle = await openRegularFile(file, options);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0);
    if (bytesRead >= 2 && buffer.readUInt16BE(0) === 0x1f8b) return "gzip";
    if (bytesRead >= 4 && buffer.readUInt32LE(0) === localSignature) return "zip";
    return bytesRead === 512 && hasTarChecksum(buffer) ? "tar" : null;
  } finally {
    await handle.close();
  }
}

/**
 * Whether what gzip has compressed begins as a tar archive does; false too where it is damaged.
 * @throws options.missing where there is no regular file
 */
export async function gzipHoldsTar(file: string, options: RegularFileOptions): Promise<boolean> {
  const bytes = (await openRegularFile(file, options)).createReadStream({ highWaterMark: 16 * 1024 });
  const gunzip = createGunzip({ chunkSize: 1024 });
  bytes.on("error", (error) => gunzip.destroy(error));
  let start = Buffer.alloc(0);
  try {
    for await (const chunk of bytes.pipe(gunzip)) {
      start = Buffer.concat([start, chunk]);
      if (start.length >= 512) return hasTarChecksum(start.subarray(0, 512));
    }
  } catch {
    // Said by whoever reads it.
  } finally {
    bytes.destroy();
  }
  return false;
}

/** Every tar format has this in common: the sum of the header's bytes, with the sum's own field as spaces. */
function hasTarChecksum(header: Buffer): boolean {
  const written = Number.parseInt(header.toString("latin1", 148, 156), 8);
  const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
  return sum === written;
}

/**
 * Unpacks the wanted files of a .tar, .tar.gz or .zip into an existing empty folder and returns the paths of all of them,
 * relative to the folder. Only plain files and folders that lie inside are taken; anything else refuses the whole archive.
 * @throws ARCHIVE_UNSAFE, options.missing where there is no regular file, options.corrupt for an archive that is damaged.
 */
export async function unpackArchive(file: string, folder: string, options: UnpackOptions): Promise<string[]> {
  const limit = await mostBytes(file, options);
  const kind = await archiveKind(file, options);
  if (kind === "zip") return unpackZip(file, folder, limit, options);
  const unpacking = new Unpacking(folder, limit, options);
  // Loaded here: a start without an archive does without it.
  const { Parser } = await import("tar");
  const parser = new Parser({ strict: true, maxMetaEntrySize, onReadEntry: (entry) => unpacking.take(entry) });
  parser.on("ignoredEntry", (entry: ReadEntry) => unpacking.take(entry));
  const ended = new Promise<void>((resolve, reject) => {
    parser.on("end", resolve);
    parser.on("error", (error: Error) => {
      unpacking.fail(error);
      reject(error);
    });
  });
  ended.catch(() => {});
  let atEnd = false;
  parser.on("eof", () => {
    atEnd = true;
  });
  try {
    for await (const chunk of decompressed(file, kind, options)) {
      options.signal?.throwIfAborted();
      unpacking.countStream(chunk.length);
      // A parser that cannot take more says so, and drains when the file being written does.
      if (!parser.write(chunk)) await Promise.race([new Promise((resolve) => parser.once("drain", resolve)), ended]);
      unpacking.check();
      // What follows the end mark is padding without a limit.
      if (atEnd) break;
    }
    parser.end();
    await ended;
    return await unpacking.finish();
  } catch (error) {
    await unpacking.abandon();
    if (isCodedError(error) || options.signal?.aborted) throw error;
    if (error instanceof Error && "syscall" in error) throw error;
    throw new CodedError(options.corrupt, `${options.name}: the archive is damaged: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Tensors and rows shrink to a tenth at best; what is small costs little however it was packed. */
const usualRatio = 100;
const freeBytes = 64 * 2 ** 20;

async function mostBytes(
  file: string,
  { maxBytes, variable, maxRatio = usualRatio }: UnpackOptions,
): Promise<BytesLimit> {
  const { size } = await stat(file);
  const byRatio = Math.max(freeBytes, size * maxRatio);
  if (byRatio < maxBytes) return { bytes: byRatio, because: `${maxRatio} times its own ${size}` };
  return { bytes: maxBytes, because: variable === undefined ? null : `the limit that ${variable} sets` };
}

async function* decompressed(file: string, kind: ArchiveKind | null, options: UnpackOptions): AsyncGenerator<Buffer> {
  const bytes = (await openRegularFile(file, options)).createReadStream({ signal: options.signal });
  if (kind !== "gzip") return yield* bytes;
  const gunzip = createGunzip();
  bytes.on("error", (error) => gunzip.destroy(error));
  try {
    yield* bytes.pipe(gunzip);
  } finally {
    bytes.destroy();
  }
}
