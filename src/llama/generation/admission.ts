import type { EngineModel, EngineSequence } from "../../engine/engine.ts";
import { CodedError, isCodedError } from "../../errors/index.ts";

/** A sequence with room for all of its tokens. */
export interface Admitted {
  readonly sequence: EngineSequence;
  /** Frees the sequence and its room. */
  close(): void;
}

interface Waiting {
  readonly capacity: number;
  admit(): void;
}

/** Sequences that wait at most; more clients than that are better told. */
const mostWaiting = 1000;

/**
 * Reserves room in the key/value cache before a sequence starts, so that none fails for it half way. What does not fit
 * beside the open ones waits its turn: first come, first served, a small one does not overtake.
 */
export class CacheAdmission {
  readonly #cache: EngineModel["cache"];
  readonly #mostWaiting: number;
  readonly #waiting: Waiting[] = [];
  #open = 0;
  #taken = 0;
  /** The device had less left than planned: nothing is admitted until an open sequence has ended. */
  #isFull = false;

  constructor(cache: EngineModel["cache"], limit = mostWaiting) {
    this.#cache = cache;
    this.#mostWaiting = limit;
  }

  /** Tokens of the largest sequence that fits when it is alone. */
  get largest(): number {
    return this.#cache.tokens;
  }

  /**
   * Opens a sequence of `capacity` tokens (at most `largest`) with `create` once there is room for it.
   * @throws QUEUE_FULL, what `create` throws, and the signal's reason while it waits
   */
  async open(capacity: number, create: () => Promise<EngineSequence>, signal?: AbortSignal): Promise<Admitted> {
    const tokens = Math.ceil(capacity / this.#cache.page) * this.#cache.page;
    for (let isAgain = false; ; isAgain = true) {
      await this.#reserve(tokens, isAgain, signal);
      try {
        const sequence = await create();
        let isOpen = true;
        const close = () => {
          if (!isOpen) return;
          isOpen = false;
          sequence.close();
          this.#release(tokens);
        };
        return { sequence, close };
      } catch (error) {
        const isShortage = isCodedError(error) && error.code === "OUT_OF_MEMORY" && this.#open > 1;
        if (!isShortage) {
          this.#release(tokens);
          throw error;
        }
        this.#open--;
        this.#taken -= tokens;
        this.#isFull = true;
      }
    }
  }

  #fits(tokens: number): boolean {
    return !this.#isFull && this.#taken + tokens <= this.#cache.tokens;
  }

  #reserve(tokens: number, isFirst: boolean, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#waiting.length === 0 && this.#fits(tokens)) {
      this.#take(tokens);
      return Promise.resolve();
    }
    if (this.#waiting.length >= this.#mostWaiting) {
      throw new CodedError("QUEUE_FULL", `${this.#waiting.length} requests wait for room in the key/value cache`, {
        hint: "Send fewer requests at once, ask for fewer max_new_tokens, or raise LLAMA_CACHE_BYTES.",
      });
    }
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal?.reason);
        // Whoever stood behind it may fit.
        this.#admitNext();
      };
      const admit = () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      const waiting: Waiting = { capacity: tokens, admit };
      if (isFirst) this.#waiting.unshift(waiting);
      else this.#waiting.push(waiting);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  #take(tokens: number): void {
    this.#open++;
    this.#taken += tokens;
  }

  #release(tokens: number): void {
    this.#open--;
    this.#taken -= tokens;
    this.#isFull = false;
    this.#admitNext();
  }

  #admitNext(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.capacity); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#take(next.capacity);
      next.admit();
    }
  }
}
