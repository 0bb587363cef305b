import { writeFile as writeText } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../../../terminal/failure.ts";
import { interruptible } from "../../../terminal/interrupt.ts";
import { say } from "../../../terminal/streams.ts";
import type { Combination } from "../../adapter/combine.ts";
import { modulePath } from "../../adapter/peft-pairs.ts";
import { configName } from "../../adapter/read.ts";
import { tensorsName } from "../../adapter/tensor-file.ts";
import { peftFields } from "../../adapter/write.ts";
import { publishedName, writeSafetensors } from "../../checkpoint/index.ts";
import { type Combined, combineSources } from "../combine/combined.ts";
import { type CombineSource, parseSource, readSource } from "../combine/sources.ts";
import { writeFile, writeFolder } from "../destination.ts";

export interface CombineFlags {
  readonly output: string;
  readonly type: Combination;
  readonly rank?: number;
  readonly force?: boolean;
}

/** Writes the weighted sum of adapters: of PEFT folders and archives as a PEFT folder, of LoRA files as a file. */
export async function combine(given: readonly string[], flags: CombineFlags): Promise<void> {
  const parsed = given.map(parseSource);
  const options = { force: flags.force ?? false, inputs: parsed.map(({ path }) => path) };
  const isFile = parsed.every(({ path }) => path.endsWith(".safetensors"));
  const combined = await interruptible(async (signal) => {
    const work = async (): Promise<{ sources: CombineSource[]; combined: Combined }> => {
      const sources: CombineSource[] = [];
      for (const { path, weight } of parsed) sources.push(await readSource(path, weight, signal));
      refuseMixture(sources);
      // As PEFT does: one adapter has nothing to be decomposed with.
      const how = sources.length === 1 && flags.rank === undefined ? "linear" : flags.type;
      return { sources, combined: combineSources(how, sources, flags.rank) };
    };
    let result: Combined | undefined;
    if (isFile) {
      await writeFile(flags.output, options, async (file) => {
        const done = await work();
        result = done.combined;
        await writeSafetensors(file, result.tensors, describeFile(done));
      });
    } else {
      await writeFolder(flags.output, options, async (folder) => {
        const done = await work();
        result = done.combined;
        await writeSafetensors(join(folder, tensorsName), result.tensors);
        await writeText(join(folder, configName), `${JSON.stringify(peftConfig(done), null, 2)}\n`);
      });
    }
    return result!;
  });
  say(`Written to ${flags.output}: ${combined.modules.length} modules of rank ${combined.rank}`);
}

/** Names must agree: a module under two spellings would count as two. */
function refuseMixture(sources: readonly CombineSource[]): void {
  const [first, ...rest] = sources;
  for (const source of rest) {
    if (source.tensors.family === first!.tensors.family && (source.config === null) === (first!.config === null))
      continue;
    const family = ({ tensors, config }: CombineSource) => (config === null ? tensors.family : "PEFT folder");
    throw new Failure(`${first!.name} is of family ${family(first!)}, ${source.name} of family ${family(source)}`, {
      hint: "Adapters of one family can be combined: their tensors have the same names.",
    });
  }
}

/** What tools read in a kohya file's metadata of its rank and scale, and the rest as the first file has it. */
function describeFile({ sources, combined }: { sources: CombineSource[]; combined: Combined }): Record<string, string> {
  const metadata = new Map(sources[0]!.tensors.metadata);
  for (const name of ["ss_network_dim", "ss_network_alpha"]) {
    if (metadata.has(name)) metadata.set(name, String(combined.rank));
  }
  for (const name of [...metadata.keys()]) if (/hash|lora_adapter_metadata/.test(name)) metadata.delete(name);
  if (!metadata.has("format")) metadata.set("format", "pt");
  return Object.fromEntries(metadata);
}

function peftConfig({ sources, combined }: { sources: CombineSource[]; combined: Combined }): object {
  const base = sources
    .map(({ config }) => config!.baseModel)
    .find((name) => name !== null && publishedName(name, "") !== null);
  return peftFields({
    rank: combined.rank,
    alpha: combined.rank,
    dropout: 0,
    targetModules: targetNames(sources, combined.modules.map(modulePath)),
    baseModel: base ?? null,
  });
}

/** Last parts of the paths where every adapter names them so and for all layers, else the whole paths. */
function targetNames(sources: readonly CombineSource[], paths: readonly string[]): string[] {
  const isPlain = sources.every(({ config }) => config!.layers === null && Array.isArray(config!.targetModules));
  const layers = new Map<string, Set<string>>();
  for (const path of paths) {
    const [, layer, end] = /layers\.(\d+)\.(?:.*\.)?(\w+)$/.exec(path) ?? [];
    if (!isPlain || layer === undefined || end === undefined) return [...paths];
    layers.set(end, (layers.get(end) ?? new Set()).add(layer));
  }
  const sizes = new Set([...layers.values()].map((found) => found.size));
  return sizes.size === 1 ? [...layers.keys()] : [...paths];
}
