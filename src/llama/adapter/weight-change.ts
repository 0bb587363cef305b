import type { AdapterModule, TensorSource } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import { type TensorPart, tensorParts } from "../checkpoint/tensor-parts.ts";
import type { TokenRows } from "./whole-changes.ts";

/** scale * B A, A [rank, in] and B [out, rank]. */
export type LowRankTerm = Pick<AdapterModule, "a" | "b" | "rank" | "scale">;

/** What becomes of a weight or a bias: the terms are added, then its rows get DoRA's lengths. */
export interface WeightChange {
  /** The weight's. */
  readonly name: string;
  readonly terms: readonly LowRankTerm[];
  /** [out]; null without DoRA. */
  readonly magnitude: Float32Array | null;
  /** Added to a bias. */
  readonly addition: Float32Array | null;
  /** Rows instead of those that come out. */
  readonly tokens: TokenRows | null;
}

/** By the weight's name ("model.layers.0.self_attn.q_proj.weight"). */
export type WeightChanges = ReadonlyMap<string, WeightChange>;

/**
 * A weight with its change, float32, from its first row to its last.
 * @throws ADAPTER_CORRUPT where that makes a number that is not finite
 */
export async function* changedParts(
  source: TensorSource,
  change: WeightChange | undefined,
  together = 1,
): AsyncGenerator<TensorPart> {
  const columns = source.shape.at(-1)!;
  for await (const part of tensorParts(source, together)) {
    if (change !== undefined) {
      changeRows(part.values, part.first, columns, change);
      if (!part.values.every(Number.isFinite)) {
        const what = `"${change.name}" hold a number that is not finite`;
        throw new CodedError("ADAPTER_CORRUPT", `the adapter makes ${what}, in row ${part.first} or later`);
      }
    }
    yield part;
  }
}

/**
 * Changes some rows of a weight: W + Σ s B A (LoRA: Hu et al. 2021), and with DoRA m (W + s B A) / |W + s B A| by rows (Liu et
 * al. 2024), in double and rounded once to float32. Of a bias all values are one row.
 * @param rows [count, input], changed in place
 * @param first number of the first of these rows in the weight
 */
function changeRows(rows: Float32Array, first: number, input: number, change: WeightChange): void {
  const { terms, magnitude, addition, tokens } = change;
  if (addition !== null) for (let i = 0; i < rows.length; i++) rows[i]! += addition[i]!;
  if (terms.length === 0 && magnitude === null && tokens === null) return;
  const sum = new Float64Array(input);
  for (let at = 0, row = first; at < rows.length; at += input, row++) {
    for (let j = 0; j < input; j++) sum[j] = rows[at + j]!;
    for (const { a, b, rank, scale } of terms) addRow(sum, a, b.subarray(row * rank, (row + 1) * rank), scale);
    if (magnitude !== null) lengthen(sum, magnitude[row]!);
    rows.set(tokens?.get(row) ?? sum, at);
  }
}

function lengthen(row: Float64Array, length: number): void {
  const norm = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
  // A row of zeros has no direction.
  if (norm > 0) for (let j = 0; j < row.length; j++) row[j]! *= length / norm;
}

/** sum += scale * b A, four rows of A at a time: a row of sums is read and written a quarter as often. */
function addRow(sum: Float64Array, a: Float32Array, b: Float32Array, scale: number): void {
  const width = sum.length;
  let k = 0;
  for (; k + 4 <= b.length; k += 4) {
    const [p, q, r, s] = [k * width, (k + 1) * width, (k + 2) * width, (k + 3) * width];
    const [bp, bq, br, bs] = [scale * b[k]!, scale * b[k + 1]!, scale * b[k + 2]!, scale * b[k + 3]!];
    for (let j = 0; j < width; j++) {
      sum[j]! += bp * a[p + j]! + bq * a[q + j]! + br * a[r + j]! + bs * a[s + j]!;
    }
  }
  for (; k < b.length; k++) {
    const [p, factor] = [k * width, scale * b[k]!];
    for (let j = 0; j < width; j++) sum[j]! += factor * a[p + j]!;
  }
}
