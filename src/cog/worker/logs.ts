import { Writable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import type { LogSource } from "./protocol.ts";
import type { Secrets } from "./secrets.ts";

const longest = 4 * 1024 * 1024;
const notice = "[**** LOG LINE TRUNCATED AT 4 MiB ****]\n";

/**
 * Cuts what is written into whole lines, each source apart, takes the secrets out of them, and passes them on in the order
 * in which they ended.
 */
export class LineBuffer {
  readonly #secrets: Secrets;
  readonly #emit: (source: LogSource, data: string) => void;
  readonly #decoders = { stdout: new StringDecoder("utf8"), stderr: new StringDecoder("utf8") };
  readonly #tails = { stdout: "", stderr: "" };

  constructor(secrets: Secrets, emit: (source: LogSource, data: string) => void) {
    this.#secrets = secrets;
    this.#emit = emit;
  }

  write(source: LogSource, chunk: string | Uint8Array): void {
    const text = typeof chunk === "string" ? chunk : this.#decoders[source].write(Buffer.from(chunk));
    const end = text.lastIndexOf("\n") + 1;
    if (end > 0) this.#send(source, this.#tails[source] + text.slice(0, end));
    const tail = (end > 0 ? "" : this.#tails[source]) + text.slice(end);
    // A line that never ends must not grow for ever.
    this.#tails[source] = tail.length > longest ? tail.slice(0, longest + 1) : tail;
  }

  /** Passes on what has no newline yet. */
  flush(): void {
    for (const source of ["stdout", "stderr"] as const) {
      const tail = this.#tails[source] + this.#decoders[source].end();
      this.#tails[source] = "";
      if (tail !== "") this.#send(source, tail, true);
    }
  }

  #send(source: LogSource, data: string, isCut = false): void {
    if (data.length <= longest) this.#emit(source, this.#secrets.mask(data, { isCut }));
    else this.#emit(source, this.#secrets.mask(data.slice(0, longest - notice.length), { isCut: true }) + notice);
  }
}

/** The lines of what was passed on. */
export function linesOf(data: string): string[] {
  return data.replace(/\n$/, "").split("\n");
}

/** Puts `receive` in the place of both standard streams. */
export function captureStandardStreams(receive: (source: LogSource, chunk: string | Uint8Array) => void): void {
  for (const [fd, source] of [[1, "stdout"] as const, [2, "stderr"] as const]) {
    // Node's own would make the descriptor non-blocking, and what native code and child processes print there would get lost.
    const stream = Object.assign(new Writable({ autoDestroy: false }), { fd, _isStdio: true });
    stream.write = ((chunk: string | Uint8Array, encoding?: unknown, done?: unknown): boolean => {
      const text = typeof chunk === "string" && typeof encoding === "string" && encoding !== "utf8";
      receive(source, text ? Buffer.from(chunk as string, encoding as BufferEncoding) : chunk);
      const callback = typeof encoding === "function" ? encoding : done;
      if (typeof callback === "function") process.nextTick(callback as () => void);
      return true;
    }) as typeof stream.write;
    Object.defineProperty(process, source, { value: stream, configurable: true, enumerable: true });
  }
}
