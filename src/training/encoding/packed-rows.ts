import type { RowSource } from "../dataset/row.ts";
import type { Example } from "../examples.ts";
import type { EncodedRow } from "./encode-row.ts";

/** Encoded rows in arrays that another thread is handed without a copy. */
export interface PackedRows {
  /** Of all examples, one after another. */
  readonly tokens: Int32Array;
  /** Of all examples. */
  readonly learnt: Int32Array;
  /** A row after the other: examples, length, place in `losses`, answers, lostAnswers. */
  readonly rows: Int32Array;
  /** An example after the other: its tokens, its numbers in `learnt`, its targets. */
  readonly examples: Int32Array;
}

const losses: readonly EncodedRow["lost"][] = ["nothing", "end", "answer"];

export function packRows(encoded: readonly EncodedRow[]): PackedRows {
  const examples = encoded.flatMap((row) => row.examples);
  const total = (size: (example: Example) => number) => examples.reduce((sum, example) => sum + size(example), 0);
  const packed: PackedRows = {
    tokens: new Int32Array(total(({ tokens }) => tokens.length)),
    learnt: new Int32Array(total(({ learnt }) => learnt.length)),
    rows: Int32Array.from(
      encoded.flatMap((row) => [
        row.examples.length,
        row.length,
        losses.indexOf(row.lost),
        row.answers,
        row.lostAnswers,
      ]),
    ),
    examples: Int32Array.from(
      examples.flatMap(({ tokens, learnt, targets }) => [tokens.length, learnt.length, targets]),
    ),
  };
  let [token, range] = [0, 0];
  for (const { tokens, learnt } of examples) {
    packed.tokens.set(tokens, token);
    packed.learnt.set(learnt, range);
    token += tokens.length;
    range += learnt.length;
  }
  return packed;
}

/** The rows again; their tokens lie in the packed memory. @param sources one for each row */
export function unpackRows(
  { tokens, learnt, rows, examples }: PackedRows,
  sources: readonly RowSource[],
): EncodedRow[] {
  let [example, token, range] = [0, 0, 0];
  return sources.map((source, row) => {
    const [count, length, lost, answers, lostAnswers] = rows.subarray(5 * row, 5 * row + 5) as unknown as number[];
    const unpacked: Example[] = [];
    for (let i = 0; i < count!; i++, example++) {
      const [size, ranges, targets] = examples.subarray(3 * example, 3 * example + 3) as unknown as number[];
      unpacked.push({
        tokens: tokens.subarray(token, token + size!),
        learnt: learnt.subarray(range, range + ranges!),
        targets: targets!,
        source,
      });
      token += size!;
      range += ranges!;
    }
    return {
      examples: unpacked,
      length: length!,
      lost: losses[lost!]!,
      answers: answers!,
      lostAnswers: lostAnswers!,
      source,
    };
  });
}
