import { existsSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import type { WeightType } from "../../../engine/engine.ts";
import { Failure } from "../../../terminal/failure.ts";
import { say } from "../../../terminal/streams.ts";
import { openAdapter } from "../../adapter/index.ts";
import { configName } from "../../adapter/read.ts";
import { archiveKind } from "../../archive.ts";
import { writeGguf } from "../../checkpoint/gguf/write.ts";
import { writtenAdapter } from "../../checkpoint/gguf/written-adapter.ts";
import type { GgufType } from "../../checkpoint/gguf/written-model.ts";
import { isWeightType, openCheckpoint } from "../../checkpoint/index.ts";

/** Whether a path is an adapter's and not a model's: PEFT's folder, or an archive. */
export async function isAdapter(path: string): Promise<boolean> {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory()) return existsSync(join(path, configName)) && !existsSync(join(path, "config.json"));
  if (!found?.isFile()) return false;
  return (await archiveKind(path, { missing: "ADAPTER_NOT_FOUND", name: path })) !== null;
}

export interface AdapterExport {
  /** The model whose heads say how rows are ordered. */
  readonly base: string;
  readonly type: GgufType;
  readonly factor: number;
  readonly signal: AbortSignal;
}

/** Writes an adapter alone as GGUF, for llama.cpp's --lora. */
export async function exportAdapter(file: string, source: string, options: AdapterExport): Promise<void> {
  const { base, type, factor, signal } = options;
  const model = await openCheckpoint(base);
  const opened = await openAdapter(source, model.config, { name: source, base: model.publishedName, signal });
  for (const warning of opened.warnings) say(`warning: ${warning}`);
  const { metadata, tensors } = writtenAdapter(opened.modules, model.config, {
    name: basename(source),
    dtype: adapterType(type),
    factor,
  });
  await writeGguf(file, metadata, tensors);
}

function adapterType(type: GgufType): WeightType {
  if (isWeightType(type)) return type;
  throw new Failure(`--type ${type.toLowerCase()}: an adapter is written as f32, f16 or bf16`);
}
