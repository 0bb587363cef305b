import { fstatSync, write } from "node:fs";
import { Writable } from "node:stream";

/** What may wait for a reader, in UTF-16 units; the longest line fits. */
const mostWaiting = 32 * 1024 * 1024;
/** At the end of the process. */
const flushLimitMs = 2000;

/**
 * Standard error, written so that a reader who is slow, stalls or has gone holds nothing up: what does not fit into the
 * buffer is dropped and counted.
 */
export class LogOutput {
  readonly #onLost: (lines: number) => void;
  readonly #stream: Writable;
  readonly #isPipe: boolean;
  #lost = 0;

  /** `onLost` is told, when lines flow again, how many were dropped before them. */
  constructor(onLost: (lines: number) => void) {
    this.#onLost = onLost;
    const status = fstatSync(2);
    this.#isPipe = status.isFIFO() || status.isSocket();
    // Node writes to pipes without waiting, but to files and terminals it does wait.
    this.#stream = this.#isPipe ? process.stderr : threadStream(this.#wrote);
    // A log whose reader has gone must not end the server.
    if (this.#isPipe) this.#stream.on("error", () => {});
  }

  write(line: string): void {
    // Until half of the buffer is free, so that what is missing is missing in one place.
    const most = this.#lost > 0 ? mostWaiting / 2 : mostWaiting;
    if (this.#stream.writableLength + line.length > most) this.#lost += 1;
    else if (this.#isPipe) this.#stream.write(line, (error) => this.#wrote(!error, 1));
    else this.#stream.write(line);
  }

  /** Resolves when everything is written, or after two seconds. */
  async flush(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const written = new Promise<void>((resolve) => this.#stream.write("", () => resolve()));
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, flushLimitMs);
    });
    await Promise.race([written, late]);
    clearTimeout(timer);
  }

  readonly #wrote = (succeeded: boolean, lines: number) => {
    if (!succeeded) this.#lost += lines;
    else if (this.#lost > 0 && this.#stream.writableLength < mostWaiting / 2) {
      const count = this.#lost;
      this.#lost = 0;
      this.#onLost(count);
    }
  };
}

/** Descriptor 2, written by a thread. It goes on after a failure: a disk may have room again. */
function threadStream(wrote: (succeeded: boolean, lines: number) => void): Writable {
  const writeLines = (lines: readonly string[], done: () => void) =>
    writeAll(Buffer.from(lines.join("")), (succeeded) => {
      done();
      wrote(succeeded, lines.length);
    });
  return new Writable({
    decodeStrings: false,
    write: (line: string, _, done) => writeLines([line], done),
    writev: (items, done) =>
      writeLines(
        items.map(({ chunk }) => chunk as string),
        done,
      ),
  });
}

function writeAll(bytes: Buffer, done: (succeeded: boolean) => void): void {
  write(2, bytes, (error, count) => {
    if (error || count >= bytes.length) done(!error);
    else writeAll(bytes.subarray(count), done);
  });
}
