import { inputOf, type PromptTemplate } from "../../llama/prompt/index.ts";
import type { Tokenizer } from "../../llama/tokenizer/tokenizer.ts";
import { bosBefore, inputParts, type TokenizerInput } from "../../llama/tokenizer/tokenizer-input.ts";
import type { RowSource } from "../dataset/row.ts";
import { type Example, exampleOf, type Range } from "../examples.ts";
import type { WordedAnswer, WordedRow } from "./wording.ts";

/** A row as the model sees it, and what it lost at the cutoff. */
export interface EncodedRow {
  /**
   * One; none where nothing of an answer is left, and one for each answer where the template words the beginning of a
   * conversation otherwise once it goes on.
   */
  readonly examples: readonly Example[];
  /** Tokens of the whole row, its end included; context + 1 where it has more than the context holds. */
  readonly length: number;
  /** At the cutoff: nothing, its end (the token that ends it at least), or every token of its answers. */
  readonly lost: "nothing" | "end" | "answer";
  /** 0 for a text. */
  readonly answers: number;
  /** Of the answers, those that lost every token. */
  readonly lostAnswers: number;
  readonly source: RowSource;
}

export interface RowEncodingOptions {
  /** How the template writes answers. */
  readonly answer: Pick<PromptTemplate["answer"], "endId" | "startsAtToken">;
  /** Tokens per example. */
  readonly cutoff: number;
  /** The model's; tokens beyond it are not counted. */
  readonly context: number;
  readonly train_on_inputs: boolean;
}

/**
 * alpaca-lora's tokenisation: BOS + encode(prompt + answer), cut at the cutoff; the token that ends an answer is appended
 * exactly where that leaves room and it is not there already, so that a row that was cut does not learn to stop.
 *
 * Prompt and answer are encoded together, as when the model is asked. Without train_on_inputs the tokens that are the
 * same in the prompt encoded alone are masked: a token that straddles the border is learnt. Behind a chat template's prompt
 * none does: it is asked for by its tokens.
 *
 * A conversation is one example where every prompt and its answer are the beginning of the whole. Templates that drop or
 * rewrite earlier turns (Qwen3's thoughts) make it one example for each answer, as the model is asked for it.
 */
export function encodeRow(
  worded: WordedRow,
  source: RowSource,
  tokenizer: Tokenizer,
  options: RowEncodingOptions,
): EncodedRow {
  if ("text" in worded) return encodeText(worded.text, source, tokenizer, options);
  const { cutoff, context, train_on_inputs } = options;
  const encoded = worded.answers.map((answer) => encodeAnswer(answer, tokenizer, options));
  const longest = encoded.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const isCut = longest > cutoff || worded.isCut;
  const needsStarts = isCut || !train_on_inputs || encoded.length > 1;
  const starts = encoded.map((answer) => (needsStarts ? answer.start() : 0));
  const kept = encoded.filter((_, i) => starts[i]! < cutoff);
  const answers = encoded.length + worded.beyond;
  return {
    examples: kept.length === 0 ? [] : examplesOf(kept, encoded.at(-1)!.tokens, source, options),
    length: worded.isCut ? Math.max(cutoff, context) + 1 : Math.min(longest, Math.max(cutoff, context) + 1),
    lost: kept.length === 0 ? "answer" : isCut ? "end" : "nothing",
    answers,
    lostAnswers: answers - kept.length,
    source,
  };
}

/** BOS, the text and EOS, all of it learnt. */
function encodeText(
  text: string,
  source: RowSource,
  tokenizer: Tokenizer,
  { cutoff, context }: RowEncodingOptions,
): EncodedRow {
  const ids = tokenizer.encode(text);
  const whole = joined(bosBefore(ids, tokenizer), ids, [tokenizer.eosId]);
  const tokens = whole.slice(0, cutoff);
  return {
    examples: [exampleOf(tokens, [[0, tokens.length]], source)],
    length: Math.min(whole.length, Math.max(cutoff, context) + 1),
    lost: whole.length > cutoff ? "end" : "nothing",
    answers: 0,
    lostAnswers: 0,
    source,
  };
}

/** @param whole the tokens up to the end of the last answer */
function examplesOf(
  answers: readonly EncodedAnswer[],
  whole: Int32Array,
  source: RowSource,
  { cutoff, train_on_inputs }: RowEncodingOptions,
): Example[] {
  if (answers.every(({ tokens }) => tokens === whole || sharedLength(whole, 0, tokens) === tokens.length)) {
    const ranges = answers.map(({ tokens, start }): Range => [start(), tokens.length]);
    // What follows the last answer teaches nothing where only answers do.
    const end = train_on_inputs ? cutoff : Math.min(cutoff, ranges.at(-1)![1]);
    return [exampleOf(whole.slice(0, end), train_on_inputs ? [[0, end]] : ranges, source)];
  }
  return answers.map(({ tokens, start }, i) => {
    // Of the prompts each token is learnt once.
    const first = train_on_inputs ? sharedLength(tokens, 0, answers[i - 1]?.tokens ?? new Int32Array()) : start();
    return exampleOf(tokens.slice(0, cutoff), [[first, tokens.length]], source);
  });
}

/** An answer behind its prompt. */
interface EncodedAnswer {
  /** BOS, prompt, answer and its end. */
  readonly tokens: Int32Array;
  /** Tokens of BOS and prompt: the answer begins there. */
  start(): number;
}

function encodeAnswer(
  { prompt, answer }: WordedAnswer,
  tokenizer: Tokenizer,
  { answer: { startsAtToken, endId } }: RowEncodingOptions,
): EncodedAnswer {
  let text = tokenizer.encode(inputOf([...inputParts(prompt), ...answer]));
  let alone: Int32Array | null = null;
  if (startsAtToken) {
    alone = tokenizer.encode(prompt);
    if (sharedLength(text, 0, alone) < alone.length) text = joined(alone, continuationIds(tokenizer, inputOf(answer)));
  }
  const end = endId ?? tokenizer.eosId;
  const bos = bosBefore(text, tokenizer);
  const tokens = text.at(-1) === end ? joined(bos, text) : joined(bos, text, [end]);
  const start = () => {
    alone ??= tokenizer.encode(prompt);
    return sharedLength(tokens, bos.length, alone);
  };
  return { tokens, start };
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

/** Tokens behind the first so many, BOS, that are those of `other`. */
function sharedLength(tokens: Int32Array, first: number, other: Int32Array): number {
  let shared = first;
  while (shared < tokens.length && shared - first < other.length && tokens[shared] === other[shared - first]) shared++;
  return shared;
}
