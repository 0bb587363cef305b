import { existsSync } from "node:fs";
import { join } from "node:path";
import { type LlamaConfig, linearShape } from "../../engine/config.ts";
import type { AdapterModule } from "../../engine/engine.ts";
import { CodedError, isCodedError } from "../../errors/index.ts";
import { readTensor } from "../checkpoint/read-tensor.ts";
import { headerLimit, isWeightType, readSafetensorsHeader, type SafetensorsEntry } from "../checkpoint/safetensors.ts";
import { readTemplateFile, recordName, type TemplateRecord } from "../prompt/record.ts";
import { readRegularFile } from "../regular-file.ts";
import { namesAnotherBase } from "./base-name.ts";
import { type PeftConfig, parsePeftConfig } from "./peft-config.ts";
import { checkSize, mostAdapterBytes } from "./size.ts";
import { findTargets, type Target } from "./targets.ts";
import { parseTensorName, tensorName } from "./tensor-name.ts";

/** An adapter in memory, float32, checked against the model it is for. */
export interface Adapter {
  readonly config: PeftConfig;
  readonly modules: readonly AdapterModule[];
  /** The prompt template that it was trained with; null where nothing says so. */
  readonly promptTemplate: TemplateRecord | null;
  readonly warnings: readonly string[];
}

export interface ReadAdapterOptions {
  readonly name?: string;
  readonly base?: string | null | undefined;
  /** Of the adapter in float32; what mostAdapterBytes says by default. */
  readonly mostBytes?: number | undefined;
  /** Whether weights as Python's pickle lay beside the files, which are not unpacked. */
  readonly hasPickle?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export const configName = "adapter_config.json";
export const tensorsName = "adapter_model.safetensors";
export const pickleName = "adapter_model.bin";

export const maxConfigBytes = 1 << 20;
const errors = { missing: "ADAPTER_NOT_FOUND", corrupt: "ADAPTER_CORRUPT" } as const;

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
): Promise<Adapter> {
  const { name = folder } = options;
  try {
    return await read(folder, model, name, options);
  } catch (error) {
    // The reader of tensors names files by their path, which for an unpacked archive says nothing to anybody.
    if (!isCodedError(error) || folder === name || !error.message.includes(folder)) throw error;
    throw new CodedError(error.code, error.message.replaceAll(folder, name), { hint: error.hint, cause: error });
  }
}

async function read(
  folder: string,
  model: LlamaConfig,
  name: string,
  { base = null, mostBytes = mostAdapterBytes(model), signal, ...options }: ReadAdapterOptions,
): Promise<Adapter> {
  const config = await readConfig(folder, name);
  const targets = findTargets(config, model, `${name}/${configName}`);
  checkSize(targets, model, mostBytes, `${name}/${configName}`);
  const file = join(folder, tensorsName);
  if (!existsSync(file)) {
    const hasPickle = options.hasPickle || existsSync(join(folder, pickleName));
    throw new CodedError(
      hasPickle ? "ADAPTER_UNSUPPORTED" : "ADAPTER_NOT_FOUND",
      `${name}: there is no ${tensorsName}${hasPickle ? ", only adapter_model.bin" : ""}`,
      { hint: hasPickle ? "Save it again with a current PEFT: model.save_pretrained(folder)." : undefined },
    );
  }
  const { tensors } = await readSafetensorsHeader(file, errors, headerLimit(2 * targets.length));
  if (tensors.size === 0) {
    throw new CodedError("ADAPTER_CORRUPT", `${name}/${tensorsName}: holds no tensors`, {
      hint: "A known fault of old training scripts: the adapter was saved empty. It has to be trained again.",
    });
  }
  const { found, bare } = index(tensors, targets, model, `${name}/${tensorsName}`);
  const modules: AdapterModule[] = [];
  for (const target of targets) {
    signal?.throwIfAborted();
    const [a, b] = [await load(found, target, "A", model, name), await load(found, target, "B", model, name)];
    modules.push({ layer: target.layer, linear: target.linear, rank: target.rank, scale: target.scale, a, b });
  }
  const warnings = [...config.warnings];
  if (namesAnotherBase(config.baseModel, base)) {
    const named = JSON.stringify(config.baseModel?.slice(0, 200));
    warnings.push(`${name}/${configName}: base_model_name_or_path is ${named}, the loaded model is "${base}"`);
  }
  if (modules.every(changesNothing)) {
    warnings.push(`${name}/${tensorsName}: every A or B is zero, so that the adapter changes nothing: was it trained?`);
  }
  if (bare) warnings.push(`${name}/${tensorsName}: names lack "base_model.model."; PEFT would load none of them`);
  return { config, modules, promptTemplate: await readPromptTemplate(folder, name), warnings };
}

async function readPromptTemplate(folder: string, name: string): Promise<TemplateRecord | null> {
  return existsSync(join(folder, recordName))
    ? readTemplateFile(join(folder, recordName), `${name}/${recordName}`)
    : null;
}

function changesNothing({ a, b, scale }: AdapterModule): boolean {
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

type Found = ReadonlyMap<string, SafetensorsEntry>;

/** Every tensor under PEFT's name for it; each belongs to a targeted layer of this model. */
function index(tensors: Found, targets: readonly Target[], model: LlamaConfig, file: string) {
  const targeted = new Set(targets.map(({ layer, linear }) => tensorName(layer, linear, "A")));
  const found = new Map<string, SafetensorsEntry>();
  let bare = false;
  for (const [given, entry] of tensors) {
    const parsed = parseTensorName(given, file);
    const { layer, linear, side } = parsed;
    if (layer >= model.layers) {
      throw new CodedError("ADAPTER_MISMATCH", `${file}: tensor "${given}": the model has ${model.layers} layers`);
    }
    if (!targeted.has(tensorName(layer, linear, "A"))) {
      throw new CodedError("ADAPTER_CONFIG", `${file}: tensor "${given}": ${configName} does not target this layer`);
    }
    const name = tensorName(layer, linear, side);
    if (found.has(name)) throw new CodedError("ADAPTER_CORRUPT", `${file}: tensor "${name}" is there twice`);
    found.set(name, entry);
    bare ||= parsed.bare;
  }
  return { found, bare };
}

async function load(found: Found, target: Target, side: "A" | "B", model: LlamaConfig, name: string) {
  const tensor = tensorName(target.layer, target.linear, side);
  const file = `${name}/${tensorsName}`;
  const entry = found.get(tensor);
  if (!entry) {
    throw new CodedError("ADAPTER_MISMATCH", `${file}: tensor "${tensor}" is missing`, {
      hint: `${configName} targets this layer of the loaded model.`,
    });
  }
  const [out, input] = linearShape(model, target.linear);
  const expected = side === "A" ? [target.rank, input] : [out, target.rank];
  if (entry.shape.length !== 2 || entry.shape.some((size, i) => size !== expected[i])) {
    const shapes = `[${expected.join(", ")}] expected, [${entry.shape.join(", ")}] found`;
    throw new CodedError("ADAPTER_MISMATCH", `${file}: tensor "${tensor}": shape ${shapes}`, {
      hint: "Was the adapter trained on another model?",
    });
  }
  const { dtype } = entry;
  if (!isWeightType(dtype)) {
    throw new CodedError("ADAPTER_UNSUPPORTED", `${file}: tensor "${tensor}" has type ${dtype}`, {
      hint: "F32, F16 and BF16 can be read.",
    });
  }
  const values = await readTensor({ ...entry, dtype }, errors);
  if (!values.every(Number.isFinite)) {
    throw new CodedError("ADAPTER_CORRUPT", `${file}: tensor "${tensor}" holds a value that is not a finite number`);
  }
  return values;
}
