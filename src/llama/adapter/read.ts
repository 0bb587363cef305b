import { existsSync } from "node:fs";
import { join } from "node:path";
import type { LlamaConfig } from "../../engine/config.ts";
import type { AdapterModule } from "../../engine/engine.ts";
import { CodedError, isCodedError } from "../../errors/index.ts";
import { headerLimit } from "../checkpoint/safetensors.ts";
import { expectedTensors } from "../checkpoint/tensors.ts";
import { readTemplateFile, recordName, type TemplateRecord } from "../prompt/record.ts";
import { readRegularFile } from "../regular-file.ts";
import type { FullAdapter } from "./adapter.ts";
import { namesAnotherBase } from "./base-name.ts";
import { loadAdapter } from "./load.ts";
import { type PeftConfig, parsePeftConfig } from "./peft-config.ts";
import { checkSize, mostAdapterBytes } from "./size.ts";
import { findTargets } from "./targets.ts";
import { openTensors } from "./tensor-file.ts";
import { indexTensors } from "./tensor-index.ts";
import { featuresOf } from "./whole-changes.ts";

export interface ReadAdapterOptions {
  readonly name?: string;
  readonly base?: string | null | undefined;
  /** Of the adapter in float32; what mostAdapterBytes says by default. */
  readonly mostBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export const configName = "adapter_config.json";
export const maxConfigBytes = 1 << 20;

/**
 * Reads an adapter folder of PEFT, stricter than PEFT: whatever would be left out or left random there is refused here.
 * @param model shape of the loaded base
 * @param options.name the folder's name in messages
 * @param options.base the loaded base's published name: an adapter that names another gets a warning
 * @throws ADAPTER_NOT_FOUND, ADAPTER_CONFIG, ADAPTER_UNSUPPORTED, ADAPTER_CORRUPT, ADAPTER_MISMATCH,
 * PROMPT_TEMPLATE_INVALID
 */
export async function readAdapter(
  folder: string,
  model: LlamaConfig,
  options: ReadAdapterOptions = {},
): Promise<FullAdapter> {
  const { name = folder } = options;
  return namedAs(name, folder, () => read(folder, model, name, options));
}

/** The readers of tensors name files by their path, which for an unpacked archive says nothing to anybody. */
export async function namedAs<T>(name: string, place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isCodedError(error) || place === name || !error.message.includes(place)) throw error;
    throw new CodedError(error.code, error.message.replaceAll(place, name), { hint: error.hint, cause: error });
  }
}

async function read(
  folder: string,
  model: LlamaConfig,
  name: string,
  { base = null, mostBytes = mostAdapterBytes(model), signal }: ReadAdapterOptions,
): Promise<FullAdapter> {
  const config = await readConfig(folder, name);
  const said = `${name}/${configName}`;
  const targets = findTargets(config, model, said);
  checkSize(targets, model, mostBytes, said);
  // An adapter has a few tensors for each of the base's at most.
  const tensors = await openTensors(folder, name, headerLimit(4 * [...expectedTensors(model)].length));
  const index = indexTensors(tensors, model);
  const { modules, whole } = await loadAdapter({ index, targets, config, model, said, signal });
  const warnings = [...config.warnings];
  if (namesAnotherBase(config.baseModel, base)) {
    const named = JSON.stringify(config.baseModel?.slice(0, 200));
    warnings.push(`${said}: base_model_name_or_path is ${named}, the loaded model is "${base}"`);
  }
  if (featuresOf(whole).length === 0 && modules.every(changesNothing)) {
    warnings.push(`${index.label}: every A or B is zero, so that the adapter changes nothing: was it trained?`);
  }
  if (index.isBare) warnings.push(`${index.label}: names lack "base_model.model."; PEFT would load none of them`);
  return { config, modules, whole, folder, promptTemplate: await readPromptTemplate(folder, name), warnings };
}

async function readPromptTemplate(folder: string, name: string): Promise<TemplateRecord | null> {
  return existsSync(join(folder, recordName))
    ? readTemplateFile(join(folder, recordName), `${name}/${recordName}`)
    : null;
}

export function changesNothing({ a, b, scale }: AdapterModule): boolean {
  const isZero = (value: number) => value === 0;
  return scale === 0 || b.every(isZero) || a.every(isZero);
}

/** What adapter_config.json says. @param name the folder's in messages */
export async function readConfig(folder: string, name: string): Promise<PeftConfig> {
  const file = `${name}/${configName}`;
  const bytes = await readRegularFile(join(folder, configName), {
    name: file,
    missing: "ADAPTER_NOT_FOUND",
    corrupt: "ADAPTER_CONFIG",
    maxBytes: maxConfigBytes,
  });
  if (bytes === null) throw new CodedError("ADAPTER_NOT_FOUND", `${name}: there is no ${configName}`);
  return parsePeftConfig(bytes.toString("utf8"), file);
}
