import type { Tokenizer } from "../../llama/tokenizer/tokenizer.ts";
import { describeSource } from "../dataset/row.ts";
import { type Example, learntOf } from "../examples.ts";
import { packsOf } from "../packing.ts";
import type { Plan } from "../plan.ts";

/** An example of a run's first step, token by token. */
export interface ShownExample {
  /** "data.json, record 7" */
  readonly source: string;
  /** The micro-batch of the first step that it goes through the model in, from 1, and its tokens. */
  readonly microBatch: number;
  readonly microBatchTokens: number;
  readonly tokens: readonly ShownToken[];
}

export interface ShownToken {
  /** In the micro-batch, from 0. */
  readonly place: number;
  readonly text: string;
  readonly id: number;
  readonly learnt: boolean;
}

const mostShown = 2;
/** Of a line. */
const columns = 80;

/** The first two of the first step. @param firstEpoch the training examples in the order of the run */
export function shownExamples(
  firstEpoch: readonly Example[],
  { settings }: Plan,
  tokenizer: Tokenizer,
): ShownExample[] {
  const { batch_size, micro_batch_size, cutoff_len } = settings;
  const step = firstEpoch.slice(0, batch_size);
  const shown: ShownExample[] = [];
  for (const [index, pack] of packsOf(step, micro_batch_size * cutoff_len).entries()) {
    let start = 0;
    for (const example of pack.examples) {
      if (shown.length < mostShown) {
        const tokens = shownTokens(example, start, tokenizer);
        const { source } = example;
        shown.push({ source: describeSource(source), microBatch: index + 1, microBatchTokens: pack.tokens, tokens });
      }
      start += example.tokens.length;
    }
  }
  return shown;
}

function shownTokens(example: Example, start: number, tokenizer: Tokenizer): ShownToken[] {
  const learnt = learntOf(example);
  // Behind a text: the first piece keeps the space it begins with.
  const before = tokenizer.encode("a");
  return Array.from(example.tokens, (id, i) => {
    const text = tokenizer.decoder(before).push(id);
    const isWhole = text !== "" && !text.includes("\ufffd");
    return { place: start + i, text: isWhole ? text : (tokenizer.piece(id) ?? ""), id, learnt: learnt[i] === 1 };
  });
}

/** The examples for a terminal: tokens as JSON with their ids, a new line where what is learnt begins or ends. */
export function exampleLines(examples: readonly ShownExample[]): string[] {
  return examples.flatMap(({ source, microBatch, microBatchTokens, tokens }) => {
    const [first, last] = [tokens[0]!.place, tokens.at(-1)!.place];
    const where = `micro-batch ${microBatch} of the first step, tokens ${first} to ${last} of ${microBatchTokens}`;
    return [`Example: ${source}; ${where}`, ...tokenLines(tokens)];
  });
}

function tokenLines(tokens: readonly ShownToken[]): string[] {
  const lines: string[] = [];
  let line: { text: string; learnt: boolean } | null = null;
  for (const { place, text, id, learnt } of tokens) {
    const word = `${JSON.stringify(text)}:${id}`;
    if (line === null || line.learnt !== learnt || line.text.length + 1 + word.length > columns) {
      if (line !== null) lines.push(line.text);
      line = { text: `${String(place).padStart(6)} ${learnt ? "learnt" : "masked"}`, learnt };
    }
    line.text += ` ${word}`;
  }
  return line === null ? lines : [...lines, line.text];
}
