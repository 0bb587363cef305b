import type { PackedBatch } from "../../src/engine/engine.ts";
import type { Tokenizer } from "../../src/llama/tokenizer/tokenizer.ts";
import type { CorpusRow } from "./corpus.ts";
import { createRandom } from "./random.ts";

/** BOS, the text, EOS. */
export function tokenise(tokenizer: Tokenizer, { prompt, output }: CorpusRow): Int32Array {
  return Int32Array.of(tokenizer.bosId!, ...tokenizer.encode(prompt + output), tokenizer.eosId);
}

/**
 * Batches of about `tokensPerBatch` tokens whose rows are of one length: rows of like length come together and the
 * shorter ones are filled up with EOS that is neither a target nor seen by what precedes it. Every token is a target,
 * the prompt's as well: train_on_inputs is alpaca-lora's default, so adapters meet the same loss.
 */
export function* batches(
  rows: Iterable<Int32Array>,
  { tokensPerBatch, pool, seed }: { tokensPerBatch: number; pool: number; seed: number },
): Generator<PackedBatch> {
  const random = createRandom(seed);
  let waiting: Int32Array[] = [];
  for (const row of rows) {
    waiting.push(row);
    if (waiting.length < pool) continue;
    yield* random.shuffle([...grouped(waiting, tokensPerBatch)]).map(rectangle);
    waiting = [];
  }
}

function* grouped(rows: Int32Array[], tokensPerBatch: number): Generator<Int32Array[]> {
  const sorted = rows.toSorted((a, b) => a.length - b.length);
  let from = 0;
  for (let to = 1; to <= sorted.length; to++) {
    if (to < sorted.length && (to + 1 - from) * sorted[to]!.length <= tokensPerBatch) continue;
    yield sorted.slice(from, to);
    from = to;
  }
}

function rectangle(rows: Int32Array[]): PackedBatch {
  // Positions predict their successor, so a row of n tokens has n - 1 of them.
  const length = Math.max(...rows.map((row) => row.length)) - 1;
  const tokens = new Int32Array(rows.length * length).fill(rows[0]!.at(-1)!);
  const targets = new Int32Array(rows.length * length).fill(-100);
  rows.forEach((row, i) => {
    tokens.set(row.subarray(0, -1), i * length);
    targets.set(row.subarray(1), i * length);
  });
  return { tokens, targets, offsets: Int32Array.from({ length: rows.length + 1 }, (_, i) => i * length) };
}
