import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { finished } from "node:stream/promises";
import type { ReadEntry } from "tar";
import { storageFailure } from "../temporary/failure.ts";
import type { UnpackOptions } from "./archive.ts";
import { ArchiveEntries, type BytesLimit } from "./archive-entries.ts";

/** Headers, padding and extended headers beside the files' own bytes. */
const maxOverhead = 16 * 1024 * 1024;

/** The state of one unpackArchive: files under way, what was counted, the first failure. */
export class Unpacking {
  readonly #folder: string;
  readonly #limit: BytesLimit;
  readonly #entries: ArchiveEntries;
  readonly #writes: Promise<void>[] = [];
  readonly #open = new Set<() => void>();
  #streamBytes = 0;
  #failure: Error | null = null;
  #abandoned = false;

  constructor(folder: string, limit: BytesLimit, options: UnpackOptions) {
    this.#folder = folder;
    this.#limit = limit;
    this.#entries = new ArchiveEntries(limit, options);
  }

  take(entry: ReadEntry): void {
    let path: string | null = null;
    try {
      path = this.#entries.allowedPath({ path: entry.path, size: entry.size, kind: kindOf(entry) });
    } catch (error) {
      this.fail(error as Error);
    }
    if (this.#failure === null && path !== null) this.#write(entry, path);
    else entry.resume();
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
          this.fail(this.#entries.unsafe(`${JSON.stringify(path)} in another file's place`));
        } else this.fail((code === "ENOSPC" && storageFailure(error)) || (error as Error));
        entry.resume();
      }),
    );
  }

  countStream(bytes: number): void {
    this.#streamBytes += bytes;
    if (this.#streamBytes > this.#limit.bytes + maxOverhead) this.fail(this.#entries.tooLarge());
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
    return this.#entries.files;
  }

  async abandon(): Promise<void> {
    this.#abandoned = true;
    for (const stop of this.#open) stop();
    await Promise.allSettled(this.#writes);
  }
}

function kindOf({ type }: ReadEntry): string {
  if (type === "Directory") return "folder";
  return type === "File" || type === "OldFile" || type === "ContiguousFile" ? "file" : type;
}
