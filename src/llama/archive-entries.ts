import { posix } from "node:path";
import { CodedError } from "../errors/index.ts";
import type { UnpackOptions } from "./archive.ts";

const maxEntries = 1000;
/** Parts of a path: each can be a folder to make. */
const maxDepth = 16;

/** Bytes of all files together, and where the limit comes from. */
export interface BytesLimit {
  readonly bytes: number;
  readonly because: string | null;
}

/** An entry as an archive's header describes it. */
export interface ArchiveEntry {
  readonly path: string;
  readonly size: number;
  /** "file", "folder", or what else it is. */
  readonly kind: string;
}

/** The entries of one archive: what may be unpacked of them, counted. */
export class ArchiveEntries {
  readonly #limit: BytesLimit;
  readonly #options: Pick<UnpackOptions, "name" | "wanted">;
  readonly #files = new Set<string>();
  #entries = 0;
  #bytes = 0;

  constructor(limit: BytesLimit, options: Pick<UnpackOptions, "name" | "wanted">) {
    this.#limit = limit;
    this.#options = options;
  }

  /** Paths of the files so far. */
  get files(): string[] {
    return [...this.#files];
  }

  /**
   * The path of a plain file that is wanted, null for any other entry.
   * @throws ARCHIVE_UNSAFE for what no archive of files holds, and for more of it than is allowed
   */
  allowedPath(entry: ArchiveEntry): string | null {
    this.#entries++;
    this.#bytes += entry.size;
    if (this.#entries > maxEntries) throw this.unsafe(`more than ${maxEntries} entries`);
    if (this.#bytes > this.#limit.bytes) throw this.tooLarge();
    const shown = JSON.stringify(entry.path.slice(0, 200));
    if (entry.kind !== "folder" && entry.kind !== "file") throw this.unsafe(`${shown}, which is a ${entry.kind}`);
    const path = posix.normalize(entry.path);
    if (path.startsWith("/") || path.split("/").includes("..") || /[\\\0]|^[A-Za-z]:/.test(path)) {
      throw this.unsafe(`${shown}, which is not a path inside the archive`);
    }
    if (path.split("/").length > maxDepth) throw this.unsafe(`${shown}, which has more than ${maxDepth} parts`);
    if (entry.kind === "folder") return null;
    if (this.#files.has(path)) throw this.unsafe(`${JSON.stringify(path)} twice`);
    this.#files.add(path);
    const most = this.#options.wanted(path);
    if (most !== null && entry.size > most) throw this.unsafe(`${shown} of ${entry.size} bytes (${most} at most)`);
    return most === null ? null : path;
  }

  tooLarge(): CodedError {
    const { bytes, because } = this.#limit;
    return this.unsafe(`more than ${bytes} bytes${because === null ? "" : `, which is ${because}`}`);
  }

  unsafe(what: string): CodedError {
    return new CodedError("ARCHIVE_UNSAFE", `${this.#options.name}: the archive holds ${what}`, {
      hint: "Only plain files and folders are unpacked.",
    });
  }
}
