import { Worker } from "node:worker_threads";
import { CodedError, type ErrorCode } from "../../errors/index.ts";
import type { RowEncodingOptions } from "./encode-row.ts";
import type { PackedRows } from "./packed-rows.ts";
import type { WordedRow } from "./wording.ts";

/** What a thread is started with. */
export interface EncoderSetup {
  /** The checkpoint, whose tokenizer it opens. */
  readonly place: string;
  readonly options: RowEncodingOptions;
}

export interface EncoderJob {
  readonly number: number;
  readonly rows: readonly WordedRow[];
}

export type EncoderAnswer =
  | { readonly number: number; readonly packed: PackedRows }
  | {
      readonly number: number;
      readonly failure: {
        readonly message: string;
        readonly coded: { readonly code: ErrorCode; readonly hint: string | undefined } | null;
      };
    };

// From the sources the built thread is started: Node cannot run ours.
const here = import.meta.url.endsWith(".ts") ? "../../../dist/training/encoding/" : "./";
const entry = new URL(`${here}encoder-thread.js`, import.meta.url);
/** Of a thread's heap, in MiB: a vocabulary and the texts of some rows. */
const heapLimit = 1024;
/** Jobs that a thread has before it: it never waits for the next one, and texts are not copied long before. */
const jobsAhead = 2;

interface Thread {
  readonly worker: Worker;
  jobs: number;
}

interface Waiting {
  readonly thread: Thread;
  resolve(packed: PackedRows): void;
  reject(error: unknown): void;
}

/** Threads that encode rows, each with a tokenizer of its own. */
export class EncoderThreads {
  readonly #threads: Thread[];
  readonly #waiting = new Map<number, Waiting>();
  #count = 0;
  #failure: Error | null = null;
  #free: (() => void) | null = null;

  constructor(count: number, setup: EncoderSetup) {
    this.#threads = Array.from({ length: count }, () => this.#start(setup));
  }

  /** Waits until a thread takes more. Throws what made one fail. */
  async ready(): Promise<void> {
    while (this.#failure === null && this.#threads.every(({ jobs }) => jobs >= jobsAhead)) {
      await new Promise<void>((resolve) => {
        this.#free = resolve;
      });
    }
    if (this.#failure !== null) throw this.#failure;
  }

  /** @throws TOKENIZER_* and CHECKPOINT_* where the thread cannot open its tokenizer */
  encode(rows: readonly WordedRow[]): Promise<PackedRows> {
    const thread = this.#threads.reduce((least, each) => (each.jobs < least.jobs ? each : least));
    this.#count += 1;
    const number = this.#count;
    thread.jobs += 1;
    thread.worker.postMessage({ number, rows } satisfies EncoderJob);
    return new Promise((resolve, reject) => this.#waiting.set(number, { thread, resolve, reject }));
  }

  /** What is under way fails with the reason. */
  async close(reason: Error = new Error("the threads that encode rows are closed")): Promise<void> {
    this.#fail(reason);
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #start(setup: EncoderSetup): Thread {
    const worker = new Worker(entry, { workerData: setup, resourceLimits: { maxOldGenerationSizeMb: heapLimit } });
    worker.on("message", (answer: EncoderAnswer) => this.#take(answer));
    const lost = (cause: unknown) => {
      const why = cause instanceof Error ? `: ${cause.message}` : "";
      this.#fail(new Error(`a thread that encodes rows ended${why}`));
    };
    worker.on("error", lost);
    worker.on("exit", lost);
    return { worker, jobs: 0 };
  }

  #take(answer: EncoderAnswer): void {
    const waiting = this.#waiting.get(answer.number);
    if (waiting === undefined) return;
    this.#waiting.delete(answer.number);
    waiting.thread.jobs -= 1;
    if ("packed" in answer) waiting.resolve(answer.packed);
    else waiting.reject(revived(answer.failure));
    this.#free?.();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#free?.();
  }
}

function revived({ message, coded }: Extract<EncoderAnswer, { failure: unknown }>["failure"]): Error {
  return coded === null ? new Error(message) : new CodedError(coded.code, message, { hint: coded.hint });
}
