import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { finished } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import type { ReadEntry } from "tar";
import { CodedError, type ErrorCode, isCodedError } from "../errors/index.ts";
import { openRegularFile, type RegularFileOptions } from "./regular-file.ts";

export interface UnpackOptions extends RegularFileOptions {
  /** The archive's name in messages. */
  readonly name: string;
  /** The code of an archive that is damaged. */
  readonly corrupt: ErrorCode;
  /** Bytes of all files together. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

export type ArchiveKind = "tar" | "gzip" | "zip";

const maxEntries = 1000;
/** Headers, padding and extended headers beside the files' own bytes. */
const maxOverhead = 16 * 1024 * 1024;
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
    if (bytesRead >= 4 && buffer.readUInt32BE(0) === 0x504b0304) return "zip";
    return bytesRead === 512 && hasTarChecksum(buffer) ? "tar" : null;
  } finally {
    await handle.close();
  }
}

/** Every tar format has this in common: the sum of the header's bytes, with the sum's own field as spaces. */
function hasTarChecksum(header: Buffer): boolean {
  const written = Number.parseInt(header.toString("latin1", 148, 156), 8);
  const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
  return sum === written;
}

/**
 * Unpacks a .tar or .tar.gz into an existing empty folder and returns the paths of its files, relative to the folder.
 * Only plain files and folders that lie inside are taken; anything else refuses the whole archive.
 * @throws ARCHIVE_UNSAFE, options.missing where there is no regular file, options.corrupt for an archive that is damaged.
 */
export async function unpackArchive(file: string, folder: string, options: UnpackOptions): Promise<string[]> {
  const unpacking = new Unpacking(folder, options);
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
    for await (const chunk of decompressed(file, options)) {
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

async function* decompressed(file: string, options: UnpackOptions): AsyncGenerator<Buffer> {
  const kind = await archiveKind(file, options);
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

/** The state of one unpackArchive: files under way, what was counted, the first failure. */
class Unpacking {
  readonly #folder: string;
  readonly #options: UnpackOptions;
  readonly #files: string[] = [];
  readonly #writes: Promise<void>[] = [];
  readonly #open = new Set<() => void>();
  #entries = 0;
  #fileBytes = 0;
  #streamBytes = 0;
  #failure: Error | null = null;
  #abandoned = false;

  constructor(folder: string, options: UnpackOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  take(entry: ReadEntry): void {
    let path: string | null = null;
    try {
      path = this.#allowedPath(entry);
    } catch (error) {
      this.fail(error as Error);
    }
    if (this.#failure === null && path !== null) this.#write(entry, path);
    else entry.resume();
  }

  /** The path of a plain file, null for a folder. */
  #allowedPath(entry: ReadEntry): string | null {
    const { maxBytes } = this.#options;
    this.#entries++;
    this.#fileBytes += entry.size;
    if (this.#entries > maxEntries) throw this.#unsafe(`more than ${maxEntries} entries`);
    if (this.#fileBytes > maxBytes) throw this.#unsafe(`more than ${maxBytes} bytes`);
    const shown = JSON.stringify(entry.path.slice(0, 200));
    const isFolder = entry.type === "Directory";
    if (!isFolder && entry.type !== "File" && entry.type !== "OldFile" && entry.type !== "ContiguousFile") {
      throw this.#unsafe(`${shown}, which is a ${entry.type}`);
    }
    const path = posix.normalize(entry.path);
    if (path.startsWith("/") || path.split("/").includes("..") || /[\\\0]|^[A-Za-z]:/.test(path)) {
      throw this.#unsafe(`${shown}, which is not a path inside the archive`);
    }
    return isFolder ? null : path;
  }

  #unsafe(what: string): CodedError {
    return new CodedError("ARCHIVE_UNSAFE", `${this.#options.name}: the archive holds ${what}`, {
      hint: "Only plain files and folders are unpacked.",
    });
  }

  #write(entry: ReadEntry, path: string): void {
    this.#files.push(path);
    const target = join(this.#folder, path);
    // Until its file is open the entry keeps its bytes: it is paused.
    const writing = mkdir(dirname(target), { recursive: true }).then(async () => {
      if (this.#abandoned) return;
      const writer = createWriteStream(target, { flags: "wx" });
      const stop = () => writer.destroy();
      this.#open.add(stop);
      entry.on("data", (chunk) => {
        if (!writer.write(chunk)) {
          entry.pause();
          writer.once("drain", () => entry.resume());
        }
      });
      entry.on("end", () => writer.end());
      await finished(writer).finally(() => this.#open.delete(stop));
    });
    this.#writes.push(
      writing.catch((error) => {
        const twice = (error as NodeJS.ErrnoException).code === "EEXIST";
        this.fail(twice ? this.#unsafe(`${JSON.stringify(path)} twice`) : (error as Error));
        entry.resume();
      }),
    );
  }

  countStream(bytes: number): void {
    this.#streamBytes += bytes;
    const { maxBytes } = this.#options;
    if (this.#streamBytes > maxBytes + maxOverhead) this.fail(this.#unsafe(`more than ${maxBytes} bytes`));
  }

  fail(error: Error): void {
    this.#failure ??= error;
  }

  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  async finish(): Promise<string[]> {
    await Promise.all(this.#writes);
    this.check();
    return this.#files;
  }

  async abandon(): Promise<void> {
    this.#abandoned = true;
    for (const stop of this.#open) stop();
    await Promise.allSettled(this.#writes);
  }
}
