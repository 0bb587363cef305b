import { CodedError, type ErrorCode } from "../../errors/index.ts";

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
  /** Things a person may want to know, although the adapter loads. */
  readonly warnings: readonly string[];
}

/** Fields that change nothing for a finished adapter. */
const ignored = new Set(
  `auto_mapping peft_version revision inference_mode task_type peft_type bias lora_dropout loftq_config eva_config
   corda_config lora_ga_config velora_config monteclora_config megatron_config megatron_core qalora_group_size
   ensure_weight_tying runtime_config enable_lora merge_weights init_lora_weights`.split(/\s+/),
);
const understood = new Set(
  `r lora_alpha use_rslora target_modules exclude_modules rank_pattern alpha_pattern layers_to_transform
   layers_pattern base_model_name_or_path fan_in_fan_out`.split(/\s+/),
);
/** Fields that, where set, mean tensors or computations this engine does not have. */
const unsupported = new Set(
  `use_dora lora_bias modules_to_save trainable_token_indices target_parameters layer_replication use_qalora
   use_bdlora alora_invocation_tokens arrow_config kasa_config fan_in_fan_out`.split(/\s+/),
);
const rewritingInitialisations = new Set(["pissa", "olora", "corda", "eva", "loftq"]);

/**
 * @param file its name in messages
 * @throws ADAPTER_CONFIG, ADAPTER_UNSUPPORTED naming file, field and value.
 */
export function parsePeftConfig(text: string, file: string): PeftConfig {
  const fields = readFields(text, file);
  const fail = (code: ErrorCode, field: string, what: string, hint?: string): never => {
    throw new CodedError(code, `${file}: ${field} ${what}, found ${shown(fields.get(field))}`, { hint });
  };
  if (fields.get("peft_type") !== "LORA") fail("ADAPTER_UNSUPPORTED", "peft_type", 'must be "LORA"');
  const task = fields.get("task_type") ?? null;
  if (task !== null && task !== "CAUSAL_LM") fail("ADAPTER_UNSUPPORTED", "task_type", 'must be "CAUSAL_LM"');
  for (const [field, value] of fields) {
    const on = (unsupported.has(field) || field.startsWith("use_")) && !understoodSwitch(field) && isSet(value);
    if (on) fail("ADAPTER_UNSUPPORTED", field, "is not supported", "Save the adapter as plain LoRA with PEFT.");
  }

  const number = (field: string, fallback: number | null, valid: (n: number) => boolean, what: string): number => {
    const value = fields.get(field) ?? fallback;
    if (typeof value === "number" && valid(value)) return value;
    return fail("ADAPTER_CONFIG", field, `must be ${what}`);
  };
  const names = (field: string): readonly string[] | string | null => {
    const value = fields.get(field) ?? null;
    if (value === null || typeof value === "string") return value;
    if (isListOf<string>(value, (item) => typeof item === "string")) return value;
    return fail("ADAPTER_CONFIG", field, "must be a list of names or a regular expression");
  };
  const pattern = (field: string, valid: (n: number) => boolean): Map<string, number> => {
    const value = fields.get(field) ?? {};
    if (typeof value !== "object" || Array.isArray(value)) return fail("ADAPTER_CONFIG", field, "must be an object");
    const entries = Object.entries(value as object);
    if (!entries.every(([, n]) => typeof n === "number" && valid(n))) {
      return fail("ADAPTER_CONFIG", field, "must map names to numbers");
    }
    return new Map(entries);
  };
  const layers = fields.get("layers_to_transform") ?? null;
  const layerList = typeof layers === "number" ? [layers] : layers;
  if (layerList !== null && !isListOf(layerList, Number.isSafeInteger)) {
    fail("ADAPTER_CONFIG", "layers_to_transform", "must be a layer's number or a list of them");
  }
  const layersPattern = [fields.get("layers_pattern") ?? []].flat();
  if (layersPattern.some((name) => name !== "layers" && name !== "")) {
    fail("ADAPTER_UNSUPPORTED", "layers_pattern", 'must be "layers"');
  }
  const base = fields.get("base_model_name_or_path");

  return {
    rank: number("r", 8, isRank, "a positive integer"),
    alpha: number("lora_alpha", 8, Number.isFinite, "a number"),
    dropout: number("lora_dropout", 0, (n) => n >= 0 && n < 1, "a number from 0 to 1"),
    rsLora: fields.get("use_rslora") === true,
    targetModules: names("target_modules") ?? ["q_proj", "v_proj"],
    excludeModules: names("exclude_modules") ?? [],
    rankPattern: pattern("rank_pattern", isRank),
    alphaPattern: pattern("alpha_pattern", Number.isFinite),
    layers: layerList as number[] | null,
    baseModel: typeof base === "string" ? base : null,
    warnings: warningsFor(fields, file),
  };
}

function readFields(text: string, file: string): Map<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CodedError("ADAPTER_CONFIG", `${file}: is not valid JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CodedError("ADAPTER_CONFIG", `${file}: must hold a JSON object`);
  }
  return new Map(Object.entries(value));
}

function warningsFor(fields: ReadonlyMap<string, unknown>, file: string): string[] {
  const warnings: string[] = [];
  const unknown = [...fields.keys()].filter(
    (field) => !ignored.has(field) && !understood.has(field) && !unsupported.has(field) && !field.startsWith("use_"),
  );
  if (unknown.length > 0) warnings.push(`${file}: unknown fields are ignored: ${unknown.join(", ").slice(0, 200)}`);
  const initialisation = fields.get("init_lora_weights");
  if (typeof initialisation === "string" && rewritingInitialisations.has(initialisation.split("_")[0]!)) {
    warnings.push(`${file}: init_lora_weights is "${initialisation}": right only if the base was not changed by it`);
  }
  return warnings;
}

const isRank = (n: number): boolean => Number.isSafeInteger(n) && n >= 1;
const understoodSwitch = (field: string): boolean => field === "use_rslora";

function isSet(value: unknown): boolean {
  if (value === null || value === undefined || value === false) return false;
  return typeof value === "object" ? Object.keys(value).length > 0 : true;
}

function isListOf<T>(value: unknown, test: (item: unknown) => boolean): value is T[] {
  return Array.isArray(value) && value.every(test);
}

function shown(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 200);
}
