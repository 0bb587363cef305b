import { type LlamaConfig, linearPath, linearShape } from "../../engine/config.ts";
import type { AdapterModule } from "../../engine/engine.ts";

/** Low-rank terms by the weight that they are added to ("model.layers.0.self_attn.q_proj.weight"). */
export type WeightTerms = ReadonlyMap<string, readonly AdapterModule[]>;

/**
 * The terms of several adapters, each with its own factor beside the scale it has (alpha / r, or alpha / sqrt(r)).
 * @throws RangeError for tensors that do not have the model's shape
 */
export function termsOf(
  adapters: readonly { readonly modules: readonly AdapterModule[]; readonly factor: number }[],
  model: LlamaConfig,
): WeightTerms {
  const terms = new Map<string, AdapterModule[]>();
  for (const { modules, factor } of adapters) {
    for (const module of modules) {
      const [out, input] = linearShape(model, module.linear);
      const { a, b, rank, layer, linear } = module;
      const weight = `${linearPath(layer, linear)}.weight`;
      if (a.length !== rank * input || b.length !== out * rank) {
        throw new RangeError(`${weight}: A of ${a.length} and B of ${b.length} numbers for [${out}, ${input}]`);
      }
      terms.set(weight, [...(terms.get(weight) ?? []), { ...module, scale: module.scale * factor }]);
    }
  }
  return terms;
}

/**
 * Adds scale * B A of every term to some rows of a weight: W + Σ s B A (LoRA: Hu et al. 2021), products summed in double,
 * the sum rounded once to float32.
 * @param rows [count, input], changed in place
 * @param first number of the first of these rows in the weight
 */
export function addTerms(rows: Float32Array, first: number, input: number, terms: readonly AdapterModule[]): void {
  const sum = new Float64Array(input);
  for (let at = 0, row = first; at < rows.length; at += input, row++) {
    for (let j = 0; j < input; j++) sum[j] = rows[at + j]!;
    for (const { a, b, rank, scale } of terms) addRow(sum, a, b.subarray(row * rank, (row + 1) * rank), scale);
    rows.set(sum, at);
  }
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
