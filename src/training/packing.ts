import type { PackedBatch } from "../engine/engine.ts";
import { type Example, rangesOf } from "./examples.ts";

/** What the engine takes for "nothing to predict here". */
const noTarget = -100;

/**
 * The examples of one optimiser step in as few micro-batches as `maxTokens` each allows (first fit), none cut, none
 * padded. The sum of losses does not depend on how they are packed, since rows do not see each other.
 */
export function packExamples(examples: readonly Example[], maxTokens: number): PackedBatch[] {
  const bins: { examples: Example[]; tokens: number }[] = [];
  for (const example of examples) {
    const { length } = example.tokens;
    let bin = bins.find(({ tokens }) => tokens + length <= maxTokens);
    if (!bin) {
      bin = { examples: [], tokens: 0 };
      bins.push(bin);
    }
    bin.examples.push(example);
    bin.tokens += length;
  }
  return bins.map((bin) => concatenate(bin.examples, bin.tokens));
}

function concatenate(examples: readonly Example[], length: number): PackedBatch {
  const tokens = new Int32Array(length);
  const targets = new Int32Array(length).fill(noTarget);
  const offsets = new Int32Array(examples.length + 1);
  for (const [row, example] of examples.entries()) {
    const start = offsets[row]!;
    tokens.set(example.tokens, start);
    // What is predicted stands one place before where it is read.
    for (const [first, end] of rangesOf(example)) {
      targets.set(example.tokens.subarray(first, end), start + first - 1);
    }
    offsets[row + 1] = start + example.tokens.length;
  }
  return { tokens, targets, offsets };
}
