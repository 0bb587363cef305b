import { CodedError } from "../../errors/index.ts";
import { runInSlices } from "../time-slices.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { bosBefore, inputLength, type TokenizerInput } from "../tokenizer/tokenizer-input.ts";

/** No vocabulary has a longer piece: a text with more characters than this per token of context cannot fit. */
const longestPiece = 160;
/** Characters that are encoded at once, in about a millisecond. */
const shortPrompt = 8192;

/** Prompts to token ids. Long ones let the event loop turn every few milliseconds, one after another. */
export class PromptEncoder {
  readonly #tokenizer: Tokenizer;
  readonly #context: number;
  #lastLong: Promise<unknown> = Promise.resolve();

  constructor(tokenizer: Tokenizer, context: number) {
    this.#tokenizer = tokenizer;
    this.#context = context;
  }

  /**
   * BOS, where the model has one and the prompt does not begin with it, and the ids of the prompt.
   * @throws PROMPT_EMPTY for no token at all; PROMPT_TOO_LONG where they leave no room for an answer in the context; the signal's reason, at once
   */
  async encode(prompt: TokenizerInput, signal?: AbortSignal): Promise<Int32Array> {
    const length = inputLength(prompt);
    this.checkLength(length);
    const ids = length <= shortPrompt ? this.#tokenizer.encode(prompt) : await this.#encodeLong(prompt, signal);
    const bos = bosBefore(ids, this.#tokenizer);
    const count = bos.length + ids.length;
    if (count === 0) {
      throw new CodedError(
        "PROMPT_EMPTY",
        "the prompt is empty, and this model has no token that stands before a text",
      );
    }
    if (count >= this.#context) this.#refuse(`${count} tokens`);
    const tokens = new Int32Array(count);
    tokens.set(bos);
    tokens.set(ids, bos.length);
    return tokens;
  }

  /** Refuses a text that cannot fit, before any work on it. Throws PROMPT_TOO_LONG. */
  checkLength(characters: number): void {
    if (characters > this.#context * longestPiece) this.#refuse(`${characters} characters`);
  }

  async #encodeLong(prompt: TokenizerInput, signal: AbortSignal | undefined): Promise<Int32Array> {
    const encoding = this.#lastLong.then(() => runInSlices(this.#tokenizer.encoding(prompt), signal));
    this.#lastLong = encoding.then(
      () => {},
      () => {},
    );
    if (!signal) return encoding;
    // One that waits its turn is answered at once, too.
    let abort = () => {};
    const aborted = new Promise<never>((_, reject) => {
      abort = () => reject(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
    });
    return Promise.race([encoding, aborted]).finally(() => signal.removeEventListener("abort", abort));
  }

  #refuse(found: string): never {
    throw new CodedError("PROMPT_TOO_LONG", `the prompt has ${found}; at most ${this.#context - 1} tokens fit`, {
      hint: `Prompt and answer share the model's context of ${this.#context} tokens.`,
    });
  }
}
