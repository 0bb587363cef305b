import type { PackedBatch } from "../engine/engine.ts";
import { type Example, rangesOf } from "./examples.ts";

/** What the engine takes for "nothing to predict here". */
const noTarget = -100;

/**
 * The examples of one optimiser step in as few micro-batches as `maxTokens` each allows (first fit), none cut, none
 * padded. The sum of losses does not depend on how they are packed, since rows do not see each other.
 */
export function packExamples(examples: readonly Example[], maxTokens: number): PackedBatch[] {
  return packsOf(examples, maxTokens).map((pack) => concatenate(pack.examples, pack.tokens));
}

/** Examples that go through the model together. */
export interface Pack {
  readonly examples: Example[];
  /** Of all of them. */
  tokens: number;
}

/** The micro-batches of packExamples before they are joined. */
export function packsOf(examples: readonly Example[], maxTokens: number): Pack[] {
  const packs: Pack[] = [];
  for (const example of examples) {
    const { length } = example.tokens;
    let pack = packs.find(({ tokens }) => tokens + length <= maxTokens);
    if (!pack) {
      pack = { examples: [], tokens: 0 };
      packs.push(pack);
    }
    pack.examples.push(example);
    pack.tokens += length;
  }
  return packs;
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
