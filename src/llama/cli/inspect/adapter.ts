import { existsSync } from "node:fs";
import { join } from "node:path";
import { isCodedError } from "../../../errors/index.ts";
import { type LoraFile, type LoraPair, loraValues, pairsIn, readLoraFile } from "../../adapter/lora-file.ts";
import { loraFeature } from "../../adapter/lora-names.ts";
import { inAdapterFolder } from "../../adapter/open.ts";
import { readPeftPairs } from "../../adapter/peft-pairs.ts";
import { readGgufHeader } from "../../checkpoint/gguf/header.ts";
import { readTemplateFile, recordName } from "../../prompt/record.ts";
import { type PairNorms, pairNorms } from "./norms.ts";
import type { ModuleNorms, Report } from "./report.ts";

const tensorBytes = 4 * 2 ** 30;

interface Found {
  readonly kind: string;
  readonly path: string;
  readonly tensors: LoraFile;
  readonly base: string | null;
  readonly template: string | null;
  readonly warnings: readonly string[];
  /** alpha / r of a pair. */
  readonly scale: (pair: LoraPair) => Promise<number>;
  /** Rank that the config promises, where there is one. */
  readonly rank?: (pair: LoraPair) => number;
}

/** A PEFT folder or archive. */
export async function inspectPeft(path: string, signal: AbortSignal): Promise<Report> {
  return inAdapterFolder(path, { name: path, tensorBytes, signal }, async ({ folder, isUnpacked }) => {
    const { config, tensors, scales } = await readPeftPairs(folder, path);
    const record = join(folder, recordName);
    const template = existsSync(record) ? await readTemplateFile(record) : null;
    return reportOf({
      kind: isUnpacked ? "PEFT adapter in an archive" : "PEFT adapter",
      path,
      tensors,
      base: config.baseModel,
      template:
        template === null
          ? null
          : "prompt_template_name" in template
            ? template.prompt_template_name
            : "alpaca-lora template",
      warnings: config.warnings,
      scale: async ({ module }) => scales(module).scale,
      rank: ({ module }) => scales(module).rank,
    });
  });
}

/** A LoRA file in safetensors, of any family. */
export async function inspectLoraFile(path: string): Promise<Report> {
  const tensors = await readLoraFile(path);
  const base = tensors.metadata.get("ss_base_model_version") ?? tensors.metadata.get("ss_sd_model_name") ?? null;
  const scale = async (pair: LoraPair) =>
    pair.alpha === null ? 1 : (await loraValues(pair.alpha, pair.names.alpha!))[0]! / pair.rank;
  return reportOf({ kind: `LoRA file (${tensors.family})`, path, tensors, base, template: null, warnings: [], scale });
}

/** llama.cpp's LoRA. */
export async function inspectGgufAdapter(path: string): Promise<Report> {
  const { tensors, metadata } = await readGgufHeader(path);
  const alpha = metadata.get("adapter.lora.alpha");
  const name = metadata.get("general.base_model.0.name");
  return reportOf({
    kind: "GGUF LoRA adapter",
    path,
    tensors: { file: path, metadata: new Map(), ...pairsIn(tensors, path) },
    base: typeof name === "string" ? name : null,
    template: null,
    warnings: typeof alpha === "number" ? [] : ["adapter.lora.alpha is missing"],
    scale: async ({ rank }) => (typeof alpha === "number" && alpha !== 0 ? alpha / rank : 1),
  });
}

async function reportOf(found: Found): Promise<Report> {
  const { tensors, kind, path } = found;
  const pairs = [...tensors.pairs.values()];
  const problems = [...found.warnings];
  const broken: string[] = [];
  for (const name of tensors.others.keys()) {
    problems.push(`tensor "${name.slice(0, 200)}": ${loraFeature(name) ?? "not part of a LoRA pair"}`);
  }
  const groups = new Map<string, { pair: LoraPair; scale: number; norms: PairNorms }[]>();
  for (const pair of pairs) {
    const promised = found.rank?.(pair) ?? pair.rank;
    if (promised !== pair.rank) broken.push(`${pair.module} has rank ${pair.rank}, its config says ${promised}`);
    try {
      const [a, b] = [await loraValues(pair.a, pair.names.a), await loraValues(pair.b, pair.names.b)];
      const name = lastPart(pair.module);
      const entry = { pair, scale: await found.scale(pair), norms: pairNorms(a, b, pair.rank) };
      groups.set(name, [...(groups.get(name) ?? []), entry]);
    } catch (error) {
      if (!isCodedError(error)) throw error;
      broken.push(error.message);
    }
  }
  const modules = [...groups].map(([name, entries]): ModuleNorms => {
    const root = (value: (entry: (typeof entries)[number]) => number) =>
      Math.sqrt(entries.reduce((sum, entry) => sum + value(entry) ** 2, 0));
    const scales = entries.map(({ scale }) => scale);
    return {
      name,
      count: entries.length,
      ranks: distinct(entries.map(({ pair }) => pair.rank)),
      scales: [Math.min(...scales), Math.max(...scales)],
      a: root(({ norms }) => norms.a),
      b: root(({ norms }) => norms.b),
      product: root(({ norms, scale }) => norms.product * scale),
    };
  });
  const isEmpty = broken.length === 0 && modules.every(({ product }) => product === 0);
  if (isEmpty)
    problems.push(pairs.length === 0 ? "it holds no pairs" : "every product B A is zero: it changes nothing");
  const entries = pairs.flatMap(({ a, b, alpha }) => [a, b, ...(alpha === null ? [] : [alpha])]);
  const all = [...entries, ...tensors.others.values()];
  return {
    kind,
    path,
    state: broken.length > 0 ? "broken" : isEmpty ? "empty" : "ok",
    problems: [...broken, ...problems].slice(0, 50),
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    tensors: all.length,
    types: counted(all.map(({ dtype }) => dtype)),
    adapter: {
      family: tensors.family,
      base: found.base,
      template: found.template,
      parameters: pairs.reduce((sum, { a, b }) => sum + count(a.shape) + count(b.shape), 0),
      ranks: distinct(pairs.map(({ rank }) => rank)),
      modules,
    },
  };
}

/** "q_proj" of "base_model.model.model.layers.0.self_attn.q_proj"; names without dots lose their numbers. */
function lastPart(module: string): string {
  const name = module
    .replace(/\.weight$/, "")
    .split(".")
    .at(-1)!;
  return name.replace(/^lora_(unet|te\d?)_.*?_(?=\w+$)/, "").replace(/\d+/g, "N") || module;
}

export function counted(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function distinct(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].sort((a, b) => a - b);
}

function count(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
