import { CodedError } from "../../errors/index.ts";
import { byteLimit } from "../../llama/byte-limit.ts";

/** Of a data set, unpacked: rows lie in memory as long as they are trained on. */
export const bytesVariable = "LLAMA_DATASET_BYTES";
const usualBytes = 2 ** 30;

/** Rows shrink to a tenth at best; what is small costs little however it was packed. */
const mostRatio = 100;
const freeBytes = 64 * 2 ** 20;

/** @throws ENGINE_ARGUMENT for a variable that is no number of bytes */
export function mostDatasetBytes(): number {
  return byteLimit(bytesVariable, process.env) ?? usualBytes;
}

export function tooLarge(name: string, maxBytes: number, found: number): CodedError {
  return new CodedError("DATASET_FORMAT", `${name}: has ${found} bytes, at most ${maxBytes} are read`, {
    hint: `Give fewer rows, or set ${bytesVariable} to more bytes.`,
  });
}

/** Counts the unpacked bytes of all files of a data set. */
export class ByteBudget {
  readonly #maxBytes: number;
  #used = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Counts bytes of one file, of which so many have been read and unpacked.
   * @throws ARCHIVE_UNSAFE naming the file for more than the data set may have, and for too many of a file compressed by gzip
   */
  take(bytes: number, file: { readonly name: string; readonly read: number; readonly unpacked: number }): void {
    this.#used += bytes;
    if (this.#used > this.#maxBytes) {
      throw unsafe(
        file.name,
        `unpacks to more than ${this.#maxBytes} bytes, which is the limit that ${bytesVariable} sets`,
      );
    }
    if (file.unpacked > Math.max(freeBytes, file.read * mostRatio)) {
      throw unsafe(file.name, `unpacks to more than ${mostRatio} times its own bytes`);
    }
  }
}

function unsafe(name: string, what: string): CodedError {
  return new CodedError("ARCHIVE_UNSAFE", `${name}: ${what}`, { hint: "Unpack it yourself, and give what is needed." });
}
