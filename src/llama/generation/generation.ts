import { randomInt } from "node:crypto";
import type { EngineSequence, Sampling } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import type { StreamDecoder, Tokenizer } from "../tokenizer/tokenizer.ts";
import type { GenerateOptions } from "./options.ts";
import type { Scheduler, Task } from "./scheduler.ts";
import { StopStrings } from "./stop-strings.ts";

export interface Piece {
  /** Never empty, and never half a character. */
  readonly text: string;
  /** The token that settled the text. */
  readonly token: number;
}

/** "eos": the model ended the answer; "stop": a stop string did; "length": max_new_tokens or the context. */
export type FinishReason = "eos" | "stop" | "length";

/** What a generation needs of the model it runs on. */
export interface GenerationHost {
  readonly tokenizer: Tokenizer;
  readonly eosTokenIds: readonly number[];
  /** Tokens of prompt and answer together. */
  readonly context: number;
  readonly scheduler: Scheduler;
  openSequence(capacity: number): Promise<{ sequence: EngineSequence; close(): void }>;
  finished(generation: Generation): void;
}

/** No vocabulary has a longer piece: a text with more characters than this per token of context cannot fit. */
const longestPiece = 160;

/** A continuation of one prompt. Iterate it once; leaving the loop early ends it. */
export class Generation implements AsyncIterable<Piece> {
  readonly seed: number;
  readonly #prompt: string;
  readonly #options: GenerateOptions;
  readonly #host: GenerationHost;
  #generated = 0;
  #seconds = 0;
  #reason: FinishReason | null = null;

  constructor(prompt: string, options: GenerateOptions, host: GenerationHost) {
    this.seed = options.seed ?? randomInt(2 ** 32);
    this.#prompt = prompt;
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
    for await (const piece of this) text += piece.text;
    return text;
  }

  /** @throws PROMPT_TOO_LONG, the adapter's and the engine's errors, and the signal's reason */
  async *[Symbol.asyncIterator](): AsyncGenerator<Piece, void> {
    const { scheduler, tokenizer } = this.#host;
    const { signal, max_new_tokens = 256 } = this.#options;
    signal?.throwIfAborted();
    const tokens = this.#encode();
    const capacity = Math.min(tokens.length + max_new_tokens, this.#host.context);
    const { sequence, close } = await this.#host.openSequence(capacity);
    const started = performance.now();
    const queue = new Queue();
    const task = this.#task(sequence, tokens, capacity - tokens.length, queue, tokenizer.decoder(tokens));
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
      this.#host.finished(this);
    }
  }

  #encode(): Int32Array {
    const { tokenizer, context } = this.#host;
    const tooLong = (found: string): never => {
      throw new CodedError("PROMPT_TOO_LONG", `the prompt has ${found}; at most ${context - 1} tokens fit`, {
        hint: `Prompt and answer share the model's context of ${context} tokens.`,
      });
    };
    if (this.#prompt.length > context * longestPiece) tooLong(`${this.#prompt.length} characters`);
    const tokens = Int32Array.of(tokenizer.bosId, ...tokenizer.encode(this.#prompt));
    if (tokens.length >= context) tooLong(`${tokens.length} tokens`);
    return tokens;
  }

  #task(sequence: EngineSequence, tokens: Int32Array, limit: number, queue: Queue, decoder: StreamDecoder): Task {
    const stops = new StopStrings(this.#options.stop ?? []);
    const { temperature = 1, top_p: topP = 1, top_k: topK = 0, repetition_penalty = 1 } = this.#options;
    const base = { temperature, topP, topK, repetitionPenalty: repetition_penalty, seed: this.seed };
    const endings = Int32Array.from(this.#host.eosTokenIds);
    const emit = (token: number, text: string): boolean => {
      const settled = stops.push(text);
      if (settled.text !== "") queue.push({ text: settled.text, token });
      return settled.stopped;
    };
    return {
      sequence,
      tokens,
      sampling: (): Sampling => ({ ...base, index: this.#generated }),
      endings: () => (this.#generated + 1 < limit ? endings : null),
      take: (token) => {
        this.#generated++;
        const isEos = this.#host.eosTokenIds.includes(token);
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
      fail: (error) => queue.fail(error),
    };
  }
}

/** Pieces on their way from the scheduler to whoever reads; the reader may be slower. */
class Queue implements AsyncIterable<Piece> {
  #pieces: Piece[] = [];
  #ended = false;
  #failure: { error: unknown } | null = null;
  #wake: () => void = () => {};

  push(piece: Piece): void {
    this.#pieces.push(piece);
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

  async *[Symbol.asyncIterator](): AsyncGenerator<Piece, void> {
    for (;;) {
      if (this.#failure) throw this.#failure.error;
      const pieces = this.#pieces;
      this.#pieces = [];
      yield* pieces;
      if (this.#pieces.length > 0 || this.#failure) continue;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
