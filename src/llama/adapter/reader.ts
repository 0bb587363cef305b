import { Worker } from "node:worker_threads";
import type { LlamaConfig } from "../../engine/config.ts";
import { CodedError, type ErrorCode } from "../../errors/index.ts";
import type { OpenAdapterOptions } from "./open.ts";
import type { ServedAdapter } from "./weighted-sum.ts";

interface Job {
  readonly number: number;
}
/** An adapter to read, one of those that are added up. */
export interface AdapterSource {
  readonly path: string;
  /** In messages. */
  readonly name?: string | undefined;
  readonly weight: number;
}
/** What the thread is asked for. */
export type ReaderJob =
  | (Job & { readonly kind: "identity"; readonly source: string })
  | (Job & {
      readonly kind: "read";
      readonly sources: readonly AdapterSource[];
      readonly model: LlamaConfig;
      readonly options: ReadOptions;
    });
export type ReaderRequest = ReaderJob | { readonly kind: "cancel"; readonly number: number };

/** What crosses to another thread: a class of error does not. */
export interface ReaderFailure {
  readonly message: string;
  readonly coded: { readonly code: ErrorCode; readonly hint: string | undefined } | null;
  /** Of an error of the file system: its code, call and path. */
  readonly fields: object;
}
export type ReaderAnswer =
  | { readonly number: number; readonly value: string | ServedAdapter }
  | { readonly number: number; readonly failure: ReaderFailure };

type ReadOptions = Omit<OpenAdapterOptions, "signal" | "name" | "mostBytes"> & { readonly mostBytes: number };
type JobWithoutNumber = ReaderJob extends infer J ? (J extends ReaderJob ? Omit<J, "number"> : never) : never;

interface Waiting {
  readonly job: ReaderJob;
  resolve(value: string | ServedAdapter): void;
  reject(error: unknown): void;
}

// From the sources the built thread is started: Node cannot run ours.
const here = import.meta.url.endsWith(".ts") ? "../../../dist/llama/adapter/" : "./";
const entry = new URL(`${here}reader-thread.js`, import.meta.url);
/** Of the thread's heap, in MiB; tensors lie outside it. */
const heapLimit = 512;
/** Adapters that are read at a time: each may take what mostAdapterBytes allows, on the disk and in memory. */
const mostAtOnce = 4;

/** Has adapters read by a thread, which is started with the first of them. */
export class AdapterReader {
  #thread: Worker | null = null;
  #count = 0;
  readonly #queue: Waiting[] = [];
  readonly #running = new Map<number, Waiting>();

  /** See identityOf. */
  identity(source: string, signal?: AbortSignal): Promise<string> {
    return this.#do({ kind: "identity", source }, signal) as Promise<string>;
  }

  /** Their weighted sum; see openAdapter and weightedSum. */
  read(
    sources: readonly AdapterSource[],
    model: LlamaConfig,
    options: ReadOptions,
    signal?: AbortSignal,
  ): Promise<ServedAdapter> {
    return this.#do({ kind: "read", sources, model, options }, signal) as Promise<ServedAdapter>;
  }

  /** What is under way fails. */
  async close(): Promise<void> {
    await this.#thread?.terminate();
  }

  async #do(job: JobWithoutNumber, signal?: AbortSignal): Promise<string | ServedAdapter> {
    signal?.throwIfAborted();
    const number = ++this.#count;
    let cancel = () => {};
    const answer = new Promise<string | ServedAdapter>((resolve, reject) => {
      const waiting = { job: { ...job, number } as ReaderJob, resolve, reject };
      this.#queue.push(waiting);
      cancel = () => this.#cancel(waiting, signal?.reason);
    });
    signal?.addEventListener("abort", cancel, { once: true });
    this.#next();
    try {
      return await answer;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  #next(): void {
    while (this.#queue.length > 0 && this.#running.size < mostAtOnce) {
      const waiting = this.#queue.shift()!;
      this.#running.set(waiting.job.number, waiting);
      this.#thread ??= this.#start();
      this.#thread.postMessage(waiting.job);
    }
    // A process waits for what is being read, and for nothing else of the thread.
    if (this.#running.size > 0) this.#thread?.ref();
    else this.#thread?.unref();
  }

  /** The caller goes on at once; the thread answers when its folder is removed. */
  #cancel(waiting: Waiting, reason: unknown): void {
    const { number } = waiting.job;
    waiting.reject(reason);
    const place = this.#queue.indexOf(waiting);
    if (place >= 0) this.#queue.splice(place, 1);
    else this.#thread?.postMessage({ kind: "cancel", number } satisfies ReaderRequest);
  }

  #start(): Worker {
    const thread = new Worker(entry, { resourceLimits: { maxOldGenerationSizeMb: heapLimit } });
    thread.on("message", (answer: ReaderAnswer) => {
      const waiting = this.#running.get(answer.number);
      this.#running.delete(answer.number);
      if ("value" in answer) waiting?.resolve(answer.value);
      else waiting?.reject(revived(answer.failure));
      this.#next();
    });
    const lost = (cause: unknown) => {
      if (this.#thread !== thread) return;
      this.#thread = null;
      const why = cause instanceof Error ? `: ${cause.message}` : "";
      for (const { reject } of this.#running.values()) reject(new Error(`the thread that reads adapters ended${why}`));
      this.#running.clear();
      this.#next();
    };
    thread.on("error", lost);
    thread.on("exit", lost);
    return thread;
  }
}

function revived({ message, coded, fields }: ReaderFailure): Error {
  if (coded === null) return Object.assign(new Error(message), fields);
  return new CodedError(coded.code, message, { hint: coded.hint });
}
