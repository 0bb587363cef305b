import { stat } from "node:fs/promises";
import { Failure } from "../../../terminal/failure.ts";
import type { WeightedFactors } from "../../adapter/combine.ts";
import { type LoraFile, type LoraPair, loraValues, readLoraFile, refuseOthers } from "../../adapter/lora-file.ts";
import { inAdapterFolder } from "../../adapter/open.ts";
import type { PeftConfig } from "../../adapter/peft-config.ts";
import { readPeftPairs } from "../../adapter/peft-pairs.ts";

/** An adapter to combine, its tensors in memory. */
export interface CombineSource {
  readonly name: string;
  readonly tensors: LoraFile;
  /** null for a LoRA file of another family. */
  readonly config: PeftConfig | null;
  /** By module. */
  readonly factors: ReadonlyMap<string, WeightedFactors>;
}

/** A PEFT adapter in float32; half of it at most is ever needed twice. */
const tensorBytes = 4 * 2 ** 30;

/** "style=0.7"; without a number the weight is 1. */
export function parseSource(text: string): { path: string; weight: number } {
  const at = text.lastIndexOf("=");
  if (at < 0) return { path: text, weight: 1 };
  const number = text.slice(at + 1);
  const weight = Number(number);
  if (number.trim() === "" || !Number.isFinite(weight)) {
    throw new Failure(`${text}: ADAPTER=WEIGHT is expected, with a number such as 0.7`);
  }
  return { path: text.slice(0, at), weight };
}

/**
 * Reads an adapter: a PEFT folder or archive, or a LoRA file in safetensors.
 * @throws ADAPTER_* errors; ADAPTER_UNSUPPORTED for tensors that are no pair, which cannot be combined
 */
export async function readSource(path: string, weight: number, signal: AbortSignal): Promise<CombineSource> {
  const isFile = (await stat(path).catch(() => null))?.isFile() && path.endsWith(".safetensors");
  if (isFile) {
    const tensors = await readLoraFile(path);
    const scale = async (pair: LoraPair) =>
      pair.alpha === null ? 1 : (await loraValues(pair.alpha, pair.names.alpha!))[0]! / pair.rank;
    return { name: path, tensors, config: null, factors: await factorsOf(tensors, weight, scale, signal) };
  }
  return inAdapterFolder(path, { name: path, tensorBytes, signal }, async ({ folder }) => {
    const { config, tensors, scales } = await readPeftPairs(folder, path);
    const scale = async ({ module, rank }: LoraPair) => {
      const said = scales(module);
      if (said.rank !== rank) {
        throw new Failure(`${path}: ${module} has rank ${rank}, adapter_config.json says ${said.rank}`);
      }
      return said.scale;
    };
    return { name: path, tensors, config, factors: await factorsOf(tensors, weight, scale, signal) };
  });
}

async function factorsOf(
  tensors: LoraFile,
  weight: number,
  scale: (pair: LoraPair) => Promise<number>,
  signal: AbortSignal,
): Promise<Map<string, WeightedFactors>> {
  refuseOthers(tensors);
  if (tensors.pairs.size === 0) throw new Failure(`${tensors.file}: holds no LoRA pairs`);
  const factors = new Map<string, WeightedFactors>();
  for (const [module, pair] of tensors.pairs) {
    signal.throwIfAborted();
    const [a, b] = [await loraValues(pair.a, pair.names.a), await loraValues(pair.b, pair.names.b)];
    factors.set(module, { a, b, rank: pair.rank, factor: weight * (await scale(pair)) });
  }
  return factors;
}
