import { answerParts, conversationOf, inputOf, type Part, type PromptTemplate } from "../llama/prompt/index.ts";
import { sliced } from "../llama/time-slices.ts";
import type { Tokenizer } from "../llama/tokenizer/tokenizer.ts";
import { bosBefore, inputParts, type TokenizerInput } from "../llama/tokenizer/tokenizer-input.ts";
import type { InstructionRow, RowSource } from "./dataset/index.ts";
import type { TrainingSettings } from "./settings.ts";

/** A row as the model sees it. */
export interface Example {
  /** BOS, prompt, output, and what ends an answer where it fits. */
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
  /** Tokens of the whole row, its end included; context + 1 where it has more than the context holds. */
  readonly length: number;
  /** Of its answer: its end (the token that ends it at least), or every token of it. */
  readonly lost: "nothing" | "end" | "answer";
}

export interface EncodingOptions extends Pick<TrainingSettings, "train_on_inputs"> {
  readonly template: PromptTemplate;
  /** Tokens per example. */
  readonly cutoff: number;
  /** The model's; tokens beyond it are not counted. */
  readonly context: number;
  readonly signal?: AbortSignal | undefined;
}

/** No vocabulary has a piece this long, so no token within the context depends on text further behind. */
const longestPiece = 160;
/** Rows that a template words at once. */
const rowsAtOnce = 64;

/**
 * alpaca-lora's tokenisation: BOS + encode(prompt + output), cut at the cutoff; the token that ends an answer is appended
 * exactly where that leaves room and it is not there already, so that a row that was cut does not learn to stop.
 *
 * Prompt and output are encoded together, as when the model is asked. Without train_on_inputs the tokens that are the
 * same in the prompt encoded alone are masked: a token that straddles the border is learnt. Behind a chat template's prompt
 * none does: it is asked for by its tokens.
 */
export async function encodeRows(
  rows: readonly InstructionRow[],
  tokenizer: Tokenizer,
  options: EncodingOptions,
): Promise<EncodedRow[]> {
  const encoded: EncodedRow[] = [];
  const { template, signal } = options;
  const pause = sliced(signal);
  const enough = charactersFor(options);
  for (let start = 0; start < rows.length; start += rowsAtOnce) {
    const some = rows.slice(start, start + rowsAtOnce);
    const conversations = some.map(({ instruction, input }) =>
      conversationOf({ prompt: instruction.slice(0, enough), input: input.slice(0, enough) }),
    );
    const prompts = await template.render(conversations, signal);
    for (const [index, row] of some.entries()) {
      encoded.push(encodeRow(row, prompts[index]!, tokenizer, options));
      await pause();
    }
  }
  return encoded;
}

function charactersFor({ cutoff, context }: Pick<EncodingOptions, "cutoff" | "context">): number {
  return Math.max(cutoff, context) * longestPiece;
}

function encodeRow(
  row: InstructionRow,
  prompt: TokenizerInput,
  tokenizer: Tokenizer,
  options: EncodingOptions,
): EncodedRow {
  const { cutoff, context, template } = options;
  const characters = charactersFor(options);
  const answer = answerParts(template, row.output);
  let text = tokenizer.encode(beginningOf(inputOf([...inputParts(prompt), ...answer]), characters));
  let alone: Int32Array | null = null;
  if (template.answer.startsAtToken) {
    alone = tokenizer.encode(beginningOf(prompt, characters));
    if (sharedLength(text, 0, alone) < alone.length) text = joined(alone, continuationIds(tokenizer, inputOf(answer)));
  }
  const end = template.answer.endId ?? tokenizer.eosId;
  const bos = bosBefore(text, tokenizer);
  const whole = joined(bos, text, [end]);
  const length = bos.length + text.length + (text.at(-1) === end ? 0 : 1);
  const isCut = length > cutoff;
  const tokens = whole.slice(0, Math.min(length, cutoff));

  const needsPrompt = isCut || !options.train_on_inputs;
  if (needsPrompt) alone ??= tokenizer.encode(beginningOf(prompt, characters));
  const ofPrompt = needsPrompt ? sharedLength(tokens, bos.length, alone!) : 0;
  const masked = options.train_on_inputs ? 0 : ofPrompt;
  // The first token is never predicted.
  const targets = tokens.length - Math.max(1, masked);
  return {
    example: { tokens, masked, targets, source: row.source },
    length: Math.min(length, Math.max(cutoff, context) + 1),
    lost: !isCut ? "nothing" : ofPrompt < tokens.length ? "end" : "answer",
  };
}

/** The ids of a text that continues another one: without the space that a tokenizer puts before a whole text. */
function continuationIds(tokenizer: Tokenizer, input: TokenizerInput): Int32Array {
  const anchor = tokenizer.encode("\n");
  const anchored = tokenizer.encode(inputOf(["\n", ...inputParts(input)]));
  const isKept = sharedLength(anchored, 0, anchor) === anchor.length;
  return isKept ? anchored.subarray(anchor.length) : tokenizer.encode(input);
}

function joined(...lists: ArrayLike<number>[]): Int32Array {
  const all = new Int32Array(lists.reduce((sum, { length }) => sum + length, 0));
  let place = 0;
  for (const list of lists) {
    all.set(list, place);
    place += list.length;
  }
  return all;
}

/** At most so many characters of the input's texts. */
function beginningOf(input: TokenizerInput, characters: number): TokenizerInput {
  if (typeof input === "string") return input.slice(0, characters);
  const parts: Part[] = [];
  let left = characters;
  for (const part of input) {
    if (left <= 0) break;
    parts.push(typeof part === "string" ? part.slice(0, left) : part);
    left -= typeof part === "string" ? part.length : 1;
  }
  return parts;
}

/** Leading tokens of a row, `first` of them BOS, that are those of its prompt encoded alone. */
function sharedLength(tokens: Int32Array, first: number, prompt: Int32Array): number {
  let shared = first;
  while (shared < tokens.length && shared - first < prompt.length && tokens[shared] === prompt[shared - first])
    shared++;
  return shared;
}
