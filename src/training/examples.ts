import { renderPrompt } from "../llama/prompt/index.ts";
import { sliced } from "../llama/time-slices.ts";
import type { Tokenizer } from "../llama/tokenizer/tokenizer.ts";
import type { Row, RowSource } from "./dataset/index.ts";
import type { TrainingSettings } from "./settings.ts";

/** A row as the model sees it. */
export interface Example {
  /** BOS, prompt, output, and EOS where it fits. */
  readonly tokens: Int32Array;
  /** The first this many tokens are not learnt. */
  readonly masked: number;
  /** Positions that predict a learnt token: what the loss is averaged over. */
  readonly targets: number;
  readonly source: RowSource;
}

/** An example, and what its row lost at the cutoff. */
export interface EncodedRow {
  readonly example: Example;
  /** Tokens of the whole row, EOS included; context + 1 where it has more than the context holds. */
  readonly length: number;
  /** Of its answer: its end (EOS at least), or every token of it. */
  readonly lost: "nothing" | "end" | "answer";
}

export interface EncodingOptions extends Pick<TrainingSettings, "train_on_inputs" | "prompt_template_name"> {
  /** Tokens per example. */
  readonly cutoff: number;
  /** The model's; tokens beyond it are not counted. */
  readonly context: number;
  readonly signal?: AbortSignal | undefined;
}

/** No vocabulary has a piece this long, so no token within the context depends on text further behind. */
const longestPiece = 160;

/**
 * alpaca-lora's tokenisation: BOS + encode(prompt + output), cut at the cutoff; EOS is appended exactly where that
 * leaves room and it is not there already, so that a row that was cut does not learn to stop.
 *
 * Prompt and output are encoded together, as when the model is asked. Without train_on_inputs the tokens that are the
 * same in the prompt encoded alone are masked: a token that straddles the border is learnt.
 */
export async function encodeRows(
  rows: readonly Row[],
  tokenizer: Tokenizer,
  options: EncodingOptions,
): Promise<EncodedRow[]> {
  const encoded: EncodedRow[] = [];
  const pause = sliced(options.signal);
  for (const row of rows) {
    encoded.push(encodeRow(row, tokenizer, options));
    await pause();
  }
  return encoded;
}

export function encodeRow(row: Row, tokenizer: Tokenizer, options: Omit<EncodingOptions, "signal">): EncodedRow {
  const { cutoff, context } = options;
  const enough = (text: string): string => text.slice(0, Math.max(cutoff, context) * longestPiece);
  const prompt = renderPrompt(options.prompt_template_name, row.instruction, row.input);
  const text = tokenizer.encode(enough(prompt + row.output));
  const bos = tokenizer.bosId === null ? [] : [tokenizer.bosId];
  const whole = new Int32Array(bos.length + text.length + 1);
  whole.set(bos);
  whole.set(text, bos.length);
  whole[bos.length + text.length] = tokenizer.eosId;
  const length = bos.length + text.length + (text.at(-1) === tokenizer.eosId ? 0 : 1);
  const isCut = length > cutoff;
  const tokens = whole.slice(0, Math.min(length, cutoff));

  const ofPrompt =
    isCut || !options.train_on_inputs ? sharedLength(tokens, bos.length, tokenizer.encode(enough(prompt))) : 0;
  const masked = options.train_on_inputs ? 0 : ofPrompt;
  // The first token is never predicted.
  const targets = tokens.length - Math.max(1, masked);
  return {
    example: { tokens, masked, targets, source: row.source },
    length: Math.min(length, Math.max(cutoff, context) + 1),
    lost: !isCut ? "nothing" : ofPrompt < tokens.length ? "end" : "answer",
  };
}

/** Leading tokens of a row, `first` of them BOS, that are those of its prompt encoded alone. */
function sharedLength(tokens: Int32Array, first: number, prompt: Int32Array): number {
  let shared = first;
  while (shared < tokens.length && shared - first < prompt.length && tokens[shared] === prompt[shared - first])
    shared++;
  return shared;
}
