import { randomInt } from "node:crypto";
import type { Sampling } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { Admitted } from "./admission.ts";
import type { GenerateOptions } from "./options.ts";
import type { Scheduler, Task } from "./scheduler.ts";
import { StopStrings } from "./stop-strings.ts";

export interface Chunk {
  /** Never empty, and never half a character. */
  readonly text: string;
  /** The token that settled the text. */
  readonly token: number;
}

/** "eos": the model ended the answer; "stop": a stop string did; "length": max_new_tokens or the context. */
export type FinishReason = "eos" | "stop" | "length";

/** A prompt, ready to be continued, and what it holds until then. */
export interface PreparedPrompt {
  readonly tokens: Int32Array;
  /** Every id that ends its answer. */
  readonly endIds: readonly number[];
  openSequence(capacity: number): Promise<Admitted>;
  /** Called once the sequence is closed, or will not be opened. */
  release(): void;
}

/** What a generation needs of the model it runs on. */
export interface GenerationHost {
  readonly tokenizer: Tokenizer;
  /** Tokens of prompt and answer together. */
  readonly context: number;
  readonly scheduler: Scheduler;
  /** Tokens of the largest sequence that there is memory for. */
  readonly largestSequence: number;
  prepare(): Promise<PreparedPrompt>;
}

/** A continuation of one prompt. Iterate it once; leaving the loop early ends it. */
export class Generation implements AsyncIterable<Chunk> {
  readonly seed: number;
  readonly #options: GenerateOptions;
  readonly #host: GenerationHost;
  #generated = 0;
  #seconds = 0;
  #reason: FinishReason | null = null;

  constructor(options: GenerateOptions, host: GenerationHost) {
    this.seed = options.seed ?? randomInt(2 ** 32);
    this.#options = options;
    this.#host = host;
  }

  /** Tokens drawn so far, the one that ended the answer included. */
  get generatedTokens(): number {
    return this.#generated;
  }

  /** null while it runs, and where it was broken off. */
  get finishReason(): FinishReason | null {
    return this.#reason;
  }

  /** Over the whole time, the prompt's included. */
  get tokensPerSecond(): number {
    return this.#seconds > 0 ? this.#generated / this.#seconds : 0;
  }

  /** The whole answer. */
  async text(): Promise<string> {
    let text = "";
    for await (const chunk of this) text += chunk.text;
    return text;
  }

  /** @throws PROMPT_*, the adapter's and the engine's errors, and the signal's reason */
  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk, void> {
    this.#options.signal?.throwIfAborted();
    const prompt = await this.#host.prepare();
    try {
      yield* this.#continuing(prompt);
    } finally {
      prompt.release();
    }
  }

  async *#continuing(prompt: PreparedPrompt): AsyncGenerator<Chunk, void> {
    const { scheduler } = this.#host;
    const { signal } = this.#options;
    const { tokens } = prompt;
    const capacity = this.#capacity(tokens.length);
    const queue = new Queue();
    const take = this.#taker(capacity - tokens.length, queue, prompt);
    const { sequence, close } = await prompt.openSequence(capacity);
    const started = performance.now();
    const task = { sequence, tokens, ...take, fail: (error: unknown) => queue.fail(error) };
    const abort = () => queue.fail(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      if (signal?.aborted) abort();
      else scheduler.add(task);
      yield* queue;
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#seconds = (performance.now() - started) / 1000;
      await scheduler.remove(task);
      close();
    }
  }

  /** Tokens of prompt and answer. Throws OUT_OF_MEMORY with the largest number that there is memory for. */
  #capacity(prompt: number): number {
    const { context, largestSequence } = this.#host;
    const { max_new_tokens = 256 } = this.#options;
    if (!(Number.isInteger(max_new_tokens) && max_new_tokens >= 1)) {
      throw new CodedError("ENGINE_ARGUMENT", `max_new_tokens is ${max_new_tokens}, not an integer of 1 or more`);
    }
    const capacity = Math.min(prompt + max_new_tokens, context);
    if (capacity <= largestSequence) return capacity;
    const left = largestSequence - prompt;
    const found = left > 0 ? `max_new_tokens is ${max_new_tokens}` : `the prompt has ${prompt} tokens`;
    const most = left > 0 ? `beside a prompt of ${prompt} tokens ${left} fit` : `${largestSequence - 1} fit`;
    throw new CodedError("OUT_OF_MEMORY", `${found}; ${most} into the key/value cache of ${largestSequence} tokens`, {
      hint: "Ask for less, or set LLAMA_CACHE_BYTES to more memory.",
    });
  }

  /** What becomes of up to `limit` tokens. */
  #taker(limit: number, queue: Queue, prompt: PreparedPrompt): Pick<Task, "sampling" | "endings" | "take"> {
    const decoder = this.#host.tokenizer.decoder(prompt.tokens);
    const stops = new StopStrings(this.#options.stop ?? []);
    const { temperature = 1, top_p: topP = 1, top_k: topK = 0, repetition_penalty = 1 } = this.#options;
    const base = { temperature, topP, topK, repetitionPenalty: repetition_penalty, seed: this.seed };
    const endings = Int32Array.from(prompt.endIds);
    const emit = (token: number, text: string): boolean => {
      const settled = stops.push(text);
      if (settled.text !== "") queue.push({ text: settled.text, token });
      return settled.stopped;
    };
    return {
      sampling: (): Sampling => ({ ...base, index: this.#generated }),
      endings: () => (this.#generated + 1 < limit ? endings : null),
      take: (token) => {
        this.#generated++;
        const isEos = prompt.endIds.includes(token);
        const stopped = !isEos && emit(token, decoder.push(token));
        const isFull = this.#generated === limit;
        if (!isEos && !stopped && !isFull) return true;
        const stoppedAtLast = stopped || emit(token, decoder.flush());
        if (!stoppedAtLast) {
          const rest = stops.flush();
          if (rest !== "") queue.push({ text: rest, token });
        }
        this.#reason = stoppedAtLast ? "stop" : isEos ? "eos" : "length";
        queue.end();
        return false;
      },
    };
  }
}

/** Chunks on their way from the scheduler to whoever reads; the reader may be slower. */
class Queue implements AsyncIterable<Chunk> {
  #chunks: Chunk[] = [];
  #ended = false;
  #failure: { error: unknown } | null = null;
  #wake: () => void = () => {};

  push(chunk: Chunk): void {
    this.#chunks.push(chunk);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk, void> {
    for (;;) {
      if (this.#failure) throw this.#failure.error;
      const chunks = this.#chunks;
      this.#chunks = [];
      yield* chunks;
      if (this.#chunks.length > 0 || this.#failure) continue;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
