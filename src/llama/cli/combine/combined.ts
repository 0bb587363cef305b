import type { WeightType } from "../../../engine/engine.ts";
import { Failure } from "../../../terminal/failure.ts";
import { type Combination, combineFactors } from "../../adapter/combine.ts";
import type { LoraPair } from "../../adapter/lora-file.ts";
import type { TensorToWrite } from "../../checkpoint/index.ts";
import type { CombineSource } from "./sources.ts";

/** What is written of a combination. */
export interface Combined {
  readonly rank: number;
  /** All modules that any of the adapters has, in the order they are met. */
  readonly modules: readonly string[];
  readonly tensors: readonly TensorToWrite[];
}

/**
 * The weighted sum of adapters, all modules with the same rank and scale 1.
 * @param wanted rank of the result, for `svd`
 * @throws Failure where ranks or shapes do not go together
 */
export function combineSources(
  how: Combination,
  sources: readonly CombineSource[],
  wanted: number | undefined,
): Combined {
  const pairs = new Map<string, LoraPair>();
  for (const { tensors } of sources) {
    for (const [module, pair] of tensors.pairs) {
      const first = pairs.get(module);
      if (first === undefined) pairs.set(module, pair);
      else if (!sameShape(first, pair)) {
        throw new Failure(
          `${module}: [${first.b.shape}] x [${first.a.shape}] and [${pair.b.shape}] x [${pair.a.shape}]`,
          {
            hint: "Adapters of different models cannot be combined.",
          },
        );
      }
    }
  }
  const rank = rankOf(how, sources, wanted);
  const tensors: TensorToWrite[] = [];
  for (const [module, pair] of pairs) {
    const columns = count(pair.a.shape.slice(1));
    const rows = pair.b.shape[0]!;
    const terms = sources.flatMap(({ factors }) => factors.get(module) ?? []);
    const { a, b } = combineFactors(how, terms, { rows, columns, rank });
    const dtype = widest(sources.flatMap(({ tensors: { pairs: all } }) => all.get(module) ?? []));
    tensors.push({ name: pair.names.a, shape: [rank, ...pair.a.shape.slice(1)], data: a, dtype });
    tensors.push({ name: pair.names.b, shape: [rows, rank, ...pair.b.shape.slice(2)], data: b, dtype });
    const alpha = pair.names.alpha;
    // Scale 1; where a family has no alpha, none is needed for it.
    if (alpha !== null) tensors.push({ name: alpha, shape: [], data: Float32Array.of(rank), dtype });
  }
  return { rank, modules: [...pairs.keys()], tensors };
}

function rankOf(how: Combination, sources: readonly CombineSource[], wanted: number | undefined): number {
  const ranks = sources.map(({ factors }) => Math.max(...[...factors.values()].map(({ rank }) => rank)));
  if (how === "svd") return wanted ?? Math.max(...ranks);
  if (wanted !== undefined) throw new Failure(`--rank is for --type svd; ${how} has no choice`);
  if (how === "cat") return ranks.reduce((sum, rank) => sum + rank, 0);
  const [first] = ranks;
  if (ranks.every((rank) => rank === first)) return first!;
  throw new Failure(`--type linear is for adapters of one rank; these have ${ranks.join(", ")}`, {
    hint: "Use --type cat (exact, its rank is their sum) or --type svd.",
  });
}

function sameShape(a: LoraPair, b: LoraPair): boolean {
  const outer = (pair: LoraPair) => [pair.a.shape.slice(1), pair.b.shape[0], pair.b.shape.slice(2)].join();
  return outer(a) === outer(b);
}

/** As read: every one is F32, F16 or BF16. Two kinds of 16 bits have only float32 in common. */
function widest(pairs: readonly LoraPair[]): WeightType {
  const types = new Set(pairs.flatMap(({ a, b }) => [a.dtype, b.dtype]));
  return types.size === 1 ? ([...types][0] as WeightType) : "F32";
}

function count(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
