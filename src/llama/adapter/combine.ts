import { truncatedSvd } from "./low-rank-svd.ts";

export const combinations = ["cat", "linear", "svd"] as const;
export type Combination = (typeof combinations)[number];

/** Factors of one weight's change: `factor` * B A, A [rank, columns] and B [rows, rank]. */
export interface WeightedFactors {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly rank: number;
  /** The adapter's weight in the combination times its scale (alpha / r). */
  readonly factor: number;
}

/** [rank, columns] and [rows, rank], with scale 1. */
export interface CombinedFactors {
  readonly a: Float32Array;
  readonly b: Float32Array;
}

/**
 * PEFT's add_weighted_adapter for one weight. `cat` is the exact sum of the changes; `linear` adds A to A and B to B, each
 * times the root of its factor, which mixes the adapters; `svd` is the best approximation of the sum with `rank` terms.
 * Unused terms are zero.
 * @param rank of the result: at least the sum of the ranks for `cat`, and what they all have for `linear`
 * https://github.com/huggingface/peft/blob/main/src/peft/tuners/lora/model.py
 */
export function combineFactors(
  how: Combination,
  terms: readonly WeightedFactors[],
  { rows, columns, rank }: { readonly rows: number; readonly columns: number; readonly rank: number },
): CombinedFactors {
  switch (how) {
    case "cat":
      return concatenated(terms, rows, columns, rank);
    case "linear":
      return added(terms, rows, columns, rank);
    case "svd":
      return decomposed(terms, rows, columns, rank);
  }
}

function concatenated(terms: readonly WeightedFactors[], rows: number, columns: number, rank: number) {
  const a = new Float32Array(rank * columns);
  const b = new Float32Array(rows * rank);
  let first = 0;
  for (const term of terms) {
    for (let i = 0; i < term.a.length; i++) a[first * columns + i] = term.a[i]! * term.factor;
    for (let row = 0; row < rows; row++) {
      b.set(term.b.subarray(row * term.rank, (row + 1) * term.rank), row * rank + first);
    }
    first += term.rank;
  }
  return { a, b };
}

function added(terms: readonly WeightedFactors[], rows: number, columns: number, rank: number) {
  const a = new Float64Array(rank * columns);
  const b = new Float64Array(rows * rank);
  for (const term of terms) {
    const root = Math.sqrt(Math.abs(term.factor));
    // On one side only: twice it would cancel.
    const signed = term.factor < 0 ? -root : root;
    for (let i = 0; i < term.a.length; i++) a[i]! += signed * term.a[i]!;
    for (let row = 0; row < rows; row++) {
      for (let k = 0; k < term.rank; k++) b[row * rank + k]! += root * term.b[row * term.rank + k]!;
    }
  }
  return { a: Float32Array.from(a), b: Float32Array.from(b) };
}

function decomposed(terms: readonly WeightedFactors[], rows: number, columns: number, rank: number) {
  const inner = terms.reduce((sum, term) => sum + term.rank, 0);
  const left = new Float64Array(rows * inner);
  const right = new Float64Array(inner * columns);
  let first = 0;
  for (const term of terms) {
    for (let i = 0; i < term.a.length; i++) right[first * columns + i] = term.a[i]! * term.factor;
    for (let row = 0; row < rows; row++) {
      left.set(term.b.subarray(row * term.rank, (row + 1) * term.rank), row * inner + first);
    }
    first += term.rank;
  }
  const factors = truncatedSvd({ rows, columns, rank: inner, left, right }, rank);
  return { a: Float32Array.from(factors.right), b: Float32Array.from(factors.left) };
}
