import type { RowSource } from "./dataset/index.ts";

/** Tokens as the model sees them, and which of them it learns. */
export interface Example {
  /** BOS, texts and what ends them where it fits. */
  readonly tokens: Int32Array;
  /** What is learnt: start and end of each range of tokens, one after another, in order, apart, none empty. */
  readonly learnt: Int32Array;
  /** Tokens in those ranges: what the loss is averaged over. */
  readonly targets: number;
  readonly source: RowSource;
}

/** Start (included) and end (excluded) of tokens. */
export type Range = readonly [start: number, end: number];

/** @param ranges to be learnt, in order; token 0, which nothing predicts, and what lies behind the last one is left out */
export function exampleOf(tokens: Int32Array, ranges: Iterable<Range>, source: RowSource): Example {
  const learnt: number[] = [];
  let targets = 0;
  for (const [first, last] of ranges) {
    const [start, end] = [Math.max(1, first), Math.min(last, tokens.length)];
    if (start >= end) continue;
    targets += end - start;
    if (learnt.at(-1) === start) learnt[learnt.length - 1] = end;
    else learnt.push(start, end);
  }
  return { tokens, learnt: Int32Array.from(learnt), targets, source };
}

/** The ranges of an example. */
export function* rangesOf({ learnt }: Pick<Example, "learnt">): Generator<Range, void> {
  for (let i = 0; i < learnt.length; i += 2) yield [learnt[i]!, learnt[i + 1]!];
}

/** Whether each token is learnt: 1 or 0. */
export function learntOf(example: Pick<Example, "tokens" | "learnt">): Uint8Array {
  const learnt = new Uint8Array(example.tokens.length);
  for (const [start, end] of rangesOf(example)) learnt.fill(1, start, end);
  return learnt;
}

/** Of all of them. */
export function tokensOf(examples: readonly Pick<Example, "tokens">[]): number {
  return examples.reduce((sum, { tokens }) => sum + tokens.length, 0);
}

/** An example's tokens from `first` on. */
export function tailOf(example: Example, first: number): Example {
  const { tokens, source } = example;
  if (first <= 0) return example;
  const ranges = Array.from(rangesOf(example), ([start, end]): Range => [start - first, end - first]);
  return exampleOf(tokens.slice(first), ranges, source);
}
