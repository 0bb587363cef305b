import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { finished } from "node:stream/promises";
import type { ReadEntry } from "tar";
import { CodedError } from "../errors/index.ts";
import { storageFailure } from "../temporary/failure.ts";
import type { UnpackOptions } from "./archive.ts";

const maxEntries = 1000;
/** Parts of a path: each can be a folder to make. */
const maxDepth = 16;
/** Headers, padding and extended headers beside the files' own bytes. */
const maxOverhead = 16 * 1024 * 1024;

/** Bytes of all files together, and where the limit comes from. */
export interface BytesLimit {
  readonly bytes: number;
  readonly because: string | null;
}

/** The state of one unpackArchive: files under way, what was counted, the first failure. */
export class Unpacking {
  readonly #folder: string;
  readonly #limit: BytesLimit;
  readonly #options: UnpackOptions;
  readonly #files = new Set<string>();
  readonly #writes: Promise<void>[] = [];
  readonly #open = new Set<() => void>();
  #entries = 0;
  #fileBytes = 0;
  #streamBytes = 0;
  #failure: Error | null = null;
  #abandoned = false;

  constructor(folder: string, limit: BytesLimit, options: UnpackOptions) {
    this.#folder = folder;
    this.#limit = limit;
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

  /** The path of a plain file that is wanted, null for any other entry. */
  #allowedPath(entry: ReadEntry): string | null {
    this.#entries++;
    this.#fileBytes += entry.size;
    if (this.#entries > maxEntries) throw this.#unsafe(`more than ${maxEntries} entries`);
    if (this.#fileBytes > this.#limit.bytes) throw this.#tooLarge();
    const shown = JSON.stringify(entry.path.slice(0, 200));
    const isFolder = entry.type === "Directory";
    if (!isFolder && entry.type !== "File" && entry.type !== "OldFile" && entry.type !== "ContiguousFile") {
      throw this.#unsafe(`${shown}, which is a ${entry.type}`);
    }
    const path = posix.normalize(entry.path);
    if (path.startsWith("/") || path.split("/").includes("..") || /[\\\0]|^[A-Za-z]:/.test(path)) {
      throw this.#unsafe(`${shown}, which is not a path inside the archive`);
    }
    if (path.split("/").length > maxDepth) throw this.#unsafe(`${shown}, which has more than ${maxDepth} parts`);
    if (isFolder) return null;
    if (this.#files.has(path)) throw this.#unsafe(`${JSON.stringify(path)} twice`);
    this.#files.add(path);
    const most = this.#options.wanted(path);
    if (most !== null && entry.size > most) throw this.#unsafe(`${shown} of ${entry.size} bytes (${most} at most)`);
    return most === null ? null : path;
  }

  #tooLarge(): CodedError {
    const { bytes, because } = this.#limit;
    return this.#unsafe(`more than ${bytes} bytes${because === null ? "" : `, which is ${because}`}`);
  }

  #unsafe(what: string): CodedError {
    return new CodedError("ARCHIVE_UNSAFE", `${this.#options.name}: the archive holds ${what}`, {
      hint: "Only plain files and folders are unpacked.",
    });
  }

  #write(entry: ReadEntry, path: string): void {
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
        const code = (error as NodeJS.ErrnoException).code ?? "";
        if (["EEXIST", "EISDIR", "ENOTDIR"].includes(code)) {
          this.fail(this.#unsafe(`${JSON.stringify(path)} in another file's place`));
        } else this.fail((code === "ENOSPC" && storageFailure(error)) || (error as Error));
        entry.resume();
      }),
    );
  }

  countStream(bytes: number): void {
    this.#streamBytes += bytes;
    if (this.#streamBytes > this.#limit.bytes + maxOverhead) this.fail(this.#tooLarge());
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
    return [...this.#files];
  }

  async abandon(): Promise<void> {
    this.#abandoned = true;
    for (const stop of this.#open) stop();
    await Promise.allSettled(this.#writes);
  }
}
