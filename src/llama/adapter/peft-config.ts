import { CodedError } from "../../errors/index.ts";
import { parseBoundedJson } from "../bounded-json.ts";
import { checkPeftFields, isPeftField, shown } from "./peft-fields.ts";

/** What an adapter_config.json of PEFT says, as far as it changes what the adapter computes. */
export interface PeftConfig {
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly rsLora: boolean;
  /** Names (exact or last part of the path), or one regular expression for the whole path, or "all-linear". */
  readonly targetModules: readonly string[] | string;
  readonly excludeModules: readonly string[] | string;
  /** Regular expressions for the end of a module's path, in file order. */
  readonly rankPattern: ReadonlyMap<string, number>;
  readonly alphaPattern: ReadonlyMap<string, number>;
  /** null: all. */
  readonly layers: readonly number[] | null;
  readonly baseModel: string | null;
  readonly dora: boolean;
  /** Pairs have a bias after B. */
  readonly loraBias: boolean;
  /** Ends of paths of modules that are trained as a whole, beside pairs. */
  readonly modulesToSave: readonly string[];
  /** Ids of tokens whose rows are trained, by the end of the path of the embedding or head. */
  readonly trainedTokens: ReadonlyMap<string, readonly number[]>;
  /** Embedding and head of a tied model stay one. */
  readonly tiesWeights: boolean;
  /** Things a person may want to know, although the adapter loads. */
  readonly warnings: readonly string[];
}

/** PEFT's LoraConfig, as far as it is read here, after checkPeftFields; null is what is not set. */
interface PeftFields {
  readonly peft_type?: string;
  readonly task_type?: string | null;
  readonly r?: number;
  readonly lora_alpha?: number;
  readonly lora_dropout?: number;
  readonly use_rslora?: boolean | null;
  readonly target_modules?: readonly string[] | string | null;
  readonly exclude_modules?: readonly string[] | string | null;
  readonly rank_pattern?: Readonly<Record<string, number>> | null;
  readonly alpha_pattern?: Readonly<Record<string, number>> | null;
  readonly layers_to_transform?: readonly number[] | number | null;
  readonly layers_pattern?: readonly string[] | string | null;
  readonly base_model_name_or_path?: string | null;
  readonly init_lora_weights?: boolean | string | null;
  readonly use_dora?: boolean | null;
  readonly lora_bias?: boolean | null;
  readonly modules_to_save?: readonly string[] | string | null;
  readonly ensure_weight_tying?: boolean | null;
  readonly trainable_token_indices?: readonly number[] | Readonly<Record<string, readonly number[]>> | null;
}

/** Fields that, where set, mean tensors or computations that are not known here, beside every use_* but these. */
const supportedSwitches = new Set(["use_rslora", "use_dora"]);
const unsupported = new Set(
  `target_parameters layer_replication alora_invocation_tokens
   arrow_config kasa_config fan_in_fan_out`.split(/\s+/),
);
/** A name for each linear of a model of 1024 layers, in several fields. */
const mostConfigValues = 50_000;
const rewritingInitialisations = new Set(["pissa", "olora", "corda", "eva", "loftq"]);

/**
 * @param file its name in messages
 * @throws ADAPTER_CONFIG, ADAPTER_UNSUPPORTED naming file, field and value.
 */
export function parsePeftConfig(text: string, file: string): PeftConfig {
  const all = readObject(text, file);
  checkPeftFields(all, file);
  refuseUnsupported(all, file);
  const fields: PeftFields = Object.fromEntries(all);
  const layers = fields.layers_to_transform ?? null;
  return {
    rank: fields.r ?? 8,
    alpha: fields.lora_alpha ?? 8,
    dropout: fields.lora_dropout ?? 0,
    rsLora: fields.use_rslora ?? false,
    targetModules: fields.target_modules ?? ["q_proj", "v_proj"],
    excludeModules: fields.exclude_modules ?? [],
    rankPattern: new Map(Object.entries(fields.rank_pattern ?? {})),
    alphaPattern: new Map(Object.entries(fields.alpha_pattern ?? {})),
    layers: layers === null ? null : [layers].flat(),
    baseModel: fields.base_model_name_or_path ?? null,
    dora: fields.use_dora ?? false,
    loraBias: fields.lora_bias ?? false,
    modulesToSave: [fields.modules_to_save ?? []].flat(),
    trainedTokens: trainedTokensOf(fields),
    tiesWeights: fields.ensure_weight_tying ?? false,
    warnings: warningsFor(all, fields, file),
  };
}

function readObject(text: string, file: string): Map<string, unknown> {
  let value: unknown;
  try {
    value = parseBoundedJson(text, mostConfigValues);
  } catch (cause) {
    throw new CodedError("ADAPTER_CONFIG", `${file}: is not valid JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CodedError("ADAPTER_CONFIG", `${file}: must hold a JSON object`);
  }
  return new Map(Object.entries(value));
}

function refuseUnsupported(all: ReadonlyMap<string, unknown>, file: string): void {
  const refuse = (field: string, what: string, hint?: string): never => {
    const message = `${file}: ${field} ${what}, found ${shown(all.get(field))}`;
    throw new CodedError("ADAPTER_UNSUPPORTED", message, { hint });
  };
  if (all.get("peft_type") !== "LORA") refuse("peft_type", 'must be "LORA"');
  if ((all.get("task_type") ?? "CAUSAL_LM") !== "CAUSAL_LM") refuse("task_type", 'must be "CAUSAL_LM"');
  for (const [field, value] of all) {
    const lacking = unsupported.has(field) || (field.startsWith("use_") && !supportedSwitches.has(field));
    if (lacking && isSet(value)) refuse(field, "is not supported", "Save the adapter as plain LoRA with PEFT.");
  }
  const pattern = [all.get("layers_pattern") ?? []].flat();
  if (pattern.some((name) => name !== "layers" && name !== "")) refuse("layers_pattern", 'must be "layers"');
}

function trainedTokensOf({ trainable_token_indices: indices }: PeftFields): Map<string, readonly number[]> {
  if (isIds(indices)) return new Map(indices.length === 0 ? [] : [["embed_tokens", indices]]);
  return new Map(Object.entries(indices ?? {}));
}

function isIds(value: PeftFields["trainable_token_indices"]): value is readonly number[] {
  return Array.isArray(value);
}

function warningsFor(all: ReadonlyMap<string, unknown>, fields: PeftFields, file: string): string[] {
  const warnings: string[] = [];
  const unknown = [...all.keys()].filter((field) => !isPeftField(field));
  if (unknown.length > 0) warnings.push(`${file}: unknown fields are ignored: ${unknown.join(", ").slice(0, 200)}`);
  const initialisation = fields.init_lora_weights;
  if (typeof initialisation === "string" && rewritingInitialisations.has(initialisation.split("_")[0]!)) {
    warnings.push(`${file}: init_lora_weights is "${initialisation}": right only if the base was not changed by it`);
  }
  return warnings;
}

function isSet(value: unknown): boolean {
  if (value === null || value === false) return false;
  return typeof value === "object" ? Object.keys(value).length > 0 : true;
}
