import { Worker } from "node:worker_threads";
import { builtEntry } from "../built-entry.ts";
import type { LargeBodyAnswer, LargeBodyJob } from "./large-body.ts";

const entry = builtEntry("./large-body-thread.js", import.meta.url);

/** Of the thread's heap, in MiB: what a body within the limits of its values and bytes needs. */
const heapLimit = 1024;

/** Has large bodies read by a thread, which is started with the first of them. */
export class LargeBodyReader {
  #thread: Worker | null = null;
  #count = 0;
  readonly #waiting = new Map<number, (answer: LargeBodyAnswer | null) => void>();

  /** The chunks' memory is handed over. Resolves to null where the thread died of the body. */
  read(job: Omit<LargeBodyJob, "number" | "chunks">, chunks: readonly Buffer[]): Promise<LargeBodyAnswer | null> {
    this.#thread ??= this.#start();
    this.#count += 1;
    const number = this.#count;
    const answer = new Promise<LargeBodyAnswer | null>((resolve) => this.#waiting.set(number, resolve));
    const owned = chunks.map(ownMemory);
    this.#thread.postMessage({ ...job, number, chunks: owned } satisfies LargeBodyJob, owned);
    return answer;
  }

  close(): void {
    void this.#thread?.terminate();
  }

  #start(): Worker {
    const thread = new Worker(entry, { resourceLimits: { maxOldGenerationSizeMb: heapLimit } });
    thread.unref();
    thread.on("message", (answer: LargeBodyAnswer) => this.#settle(answer.number, answer));
    // The first that waits is the one that was read; for the others another thread would do, but their bytes are gone.
    const lost = () => {
      if (this.#thread !== thread) return;
      this.#thread = null;
      for (const number of [...this.#waiting.keys()]) this.#settle(number, null);
    };
    thread.on("error", lost);
    thread.on("exit", lost);
    return thread;
  }

  #settle(number: number, answer: LargeBodyAnswer | null): void {
    this.#waiting.get(number)?.(answer);
    this.#waiting.delete(number);
  }
}

/** The chunk's bytes in memory that is theirs alone, so that it can be handed over. */
function ownMemory(chunk: Buffer): ArrayBuffer {
  const { buffer, byteLength } = chunk;
  if (buffer.byteLength === byteLength && buffer instanceof ArrayBuffer) return buffer;
  return new Uint8Array(chunk).buffer;
}
