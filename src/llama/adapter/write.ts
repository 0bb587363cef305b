import { createWriteStream } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { type LlamaConfig, linearNames, linearShape } from "../../engine/config.ts";
import type { AdapterModule } from "../../engine/engine.ts";
import { pathBeside } from "../../temporary/beside.ts";
import { writeSafetensors } from "../checkpoint/safetensors-writer.ts";
import { recordName, type TemplateRecord } from "../prompt/record.ts";
import { openAdapter } from "./open.ts";
import { configName } from "./read.ts";
import { tensorsName } from "./tensor-file.ts";
import { tensorName } from "./tensor-name.ts";

/** What a trained adapter is written from: the modules, and what PEFT's configuration says of their ranks and scales. */
export interface AdapterToWrite {
  readonly modules: readonly AdapterModule[];
  readonly rank: number;
  readonly alpha: number;
  /** Scale alpha / sqrt(rank); false by default. */
  readonly rsLora?: boolean;
  /** Ranks of modules that have another, by their full paths; {} by default. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  readonly alphaPattern?: Readonly<Record<string, number>>;
  readonly dropout: number;
  /** Linears of every layer, or full paths. */
  readonly targetModules: readonly string[];
  /** A model's name, never a path of this machine. */
  readonly baseModel: string;
  /** What prompts are worded with: kept beside the tensors, so that a server words them the same. */
  readonly promptTemplate?: TemplateRecord | undefined;
}

/** A file beside an adapter that no reader of adapters needs: a model card, the record of its training. */
export interface AdapterNote {
  /** In the adapter's folder, and none of the adapter's own files. */
  readonly name: string;
  readonly text: string;
}

/** Writes PEFT's two files, the prompt template and notes into an existing folder; tensors are float32. */
export async function writeAdapterFolder(
  folder: string,
  adapter: AdapterToWrite,
  model: LlamaConfig,
  notes: readonly AdapterNote[] = [],
): Promise<void> {
  const tensors = adapter.modules.flatMap(({ layer, linear, rank, a, b }) => {
    const [out, input] = linearShape(model, linear);
    return [
      { name: tensorName(layer, linear, "A"), shape: [rank, input], data: a },
      { name: tensorName(layer, linear, "B"), shape: [out, rank], data: b },
    ];
  });
  await writeSafetensors(join(folder, tensorsName), tensors, { format: "pt" });
  const fields = peftFields({ ...adapter, targetModules: inOrder(adapter.targetModules) });
  await writeFile(join(folder, configName), `${JSON.stringify(fields, null, 2)}\n`);
  for (const { name, text } of notes) await writeFile(join(folder, name), text);
  // A file of its own: PEFT warns of fields in its configuration that it does not know.
  if (adapter.promptTemplate === undefined) return;
  await writeFile(join(folder, recordName), `${JSON.stringify(adapter.promptTemplate, null, 2)}\n`);
}

/**
 * Writes an adapter and notes as .tar.gz, its files at the top level, the same bytes for the same adapter. The archive
 * is read back and compared bit for bit with the tensors in memory before it gets its name: it is there and right, or
 * not there. Returns the file.
 */
export async function writeAdapterArchive(
  file: string,
  adapter: AdapterToWrite,
  model: LlamaConfig,
  notes: readonly AdapterNote[] = [],
): Promise<string> {
  const folder = pathBeside(file);
  await mkdir(folder, { mode: 0o700 });
  try {
    await writeAdapterFolder(folder, adapter, model, notes);
    const packed = join(folder, basename(file));
    const { create } = await import("tar");
    const template = adapter.promptTemplate === undefined ? [] : [recordName];
    const names = [configName, tensorsName, ...template, ...notes.map(({ name }) => name)];
    const entries = create({ cwd: folder, portable: true, mtime: new Date(0) }, names);
    // Tensors hardly shrink: the fastest level costs nothing in size.
    await pipeline(Readable.from(entries), createGzip({ level: 1 }), createWriteStream(packed));
    const { modules, promptTemplate } = await openAdapter(packed, model, { mostBytes: Number.MAX_SAFE_INTEGER });
    compare(adapter.modules, modules);
    if (JSON.stringify(promptTemplate ?? undefined) !== JSON.stringify(adapter.promptTemplate)) throw differs();
    await rename(packed, file);
    return file;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What adapter_config.json says of plain LoRA. */
export interface PeftFieldValues
  extends Pick<
    AdapterToWrite,
    "rank" | "alpha" | "rsLora" | "rankPattern" | "alphaPattern" | "dropout" | "targetModules"
  > {
  readonly baseModel: string | null;
}

/** PEFT's fields for plain LoRA, in its order: sorted by name. */
export function peftFields({ rank, alpha, dropout, targetModules, baseModel, ...more }: PeftFieldValues) {
  const { rsLora = false, rankPattern = {}, alphaPattern = {} } = more;
  return {
    alpha_pattern: alphaPattern,
    auto_mapping: null,
    base_model_name_or_path: baseModel,
    bias: "none",
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: alpha,
    lora_dropout: dropout,
    modules_to_save: null,
    peft_type: "LORA",
    r: rank,
    rank_pattern: rankPattern,
    revision: null,
    target_modules: targetModules,
    task_type: "CAUSAL_LM",
    use_dora: false,
    use_rslora: rsLora,
  };
}

function inOrder(names: readonly string[]): readonly string[] {
  const linears = linearNames.filter((name) => names.includes(name));
  return linears.length === names.length ? linears : names;
}

function compare(written: readonly AdapterModule[], found: readonly AdapterModule[]): void {
  const key = ({ layer, linear }: AdapterModule) => `${layer} ${linear}`;
  const byKey = new Map(found.map((module) => [key(module), module]));
  const same =
    found.length === written.length &&
    written.every((module) => {
      const other = byKey.get(key(module));
      return other && sameBits(module.a, other.a) && sameBits(module.b, other.b) && module.scale === other.scale;
    });
  if (!same) throw differs();
}

function differs(): Error {
  return new Error("the adapter that was written differs from the one in memory: is the disk faulty or full?");
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  return Buffer.compare(bytes(a), bytes(b)) === 0;
}

function bytes(values: Float32Array): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}
