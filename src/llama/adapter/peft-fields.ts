import { CodedError } from "../../errors/index.ts";

type Test = (value: unknown) => boolean;

const isText: Test = (value) => typeof value === "string";
const isFlag: Test = (value) => typeof value === "boolean";
const isNumber: Test = (value) => Number.isFinite(value);
const isCount: Test = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isRank: Test = (value) => isCount(value) && value !== 0;
const isObject: Test = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const listOf = (test: Test): Test => {
  return (value) => Array.isArray(value) && value.every(test);
};
const mapTo = (test: Test): Test => {
  return (value) => isObject(value) && Object.values(value as object).every(test);
};
const either = (...tests: Test[]): Test => {
  return (value) => tests.some((test) => test(value));
};

/** The fields of PEFT's LoraConfig, those of 2023 among them, by what they may hold. */
const kinds: readonly { fields: string; is: string; holds: Test }[] = [
  { fields: "r", is: "a positive integer", holds: isRank },
  { fields: "lora_alpha", is: "a number", holds: isNumber },
  {
    fields: "lora_dropout",
    is: "a number from 0 to 1",
    holds: (value) => isNumber(value) && (value as number) >= 0 && (value as number) < 1,
  },
  {
    fields: `fan_in_fan_out use_rslora use_dora lora_bias use_qalora inference_mode ensure_weight_tying merge_weights`,
    is: "true or false",
    holds: isFlag,
  },
  { fields: "enable_lora", is: "true, false or a list of them", holds: either(isFlag, listOf(isFlag)) },
  { fields: "init_lora_weights", is: "true, false or the name of a method", holds: either(isFlag, isText) },
  {
    fields: "peft_type task_type base_model_name_or_path revision peft_version megatron_core",
    is: "a text",
    holds: isText,
  },
  {
    fields: "bias",
    is: '"none", "all" or "lora_only"',
    holds: (value) => ["none", "all", "lora_only"].includes(value as string),
  },
  {
    fields: "target_modules exclude_modules",
    is: "a list of names or a regular expression",
    holds: either(isText, listOf(isText)),
  },
  { fields: "layers_pattern modules_to_save", is: "a name or a list of names", holds: either(isText, listOf(isText)) },
  { fields: "target_parameters", is: "a list of names", holds: listOf(isText) },
  {
    fields: "layers_to_transform",
    is: "a layer's number or a list of them",
    holds: either(isCount, listOf(isCount)),
  },
  { fields: "layer_replication", is: "a list of pairs of layers", holds: listOf(listOf(isCount)) },
  { fields: "rank_pattern", is: "an object that maps names to positive integers", holds: mapTo(isRank) },
  { fields: "alpha_pattern", is: "an object that maps names to numbers", holds: mapTo(isNumber) },
  {
    fields: "trainable_token_indices",
    is: "a list of token ids, or an object of such lists",
    holds: either(listOf(isCount), mapTo(listOf(isCount))),
  },
  { fields: "alora_invocation_tokens", is: "a list of token ids", holds: listOf(isCount) },
  { fields: "qalora_group_size", is: "a positive integer", holds: isRank },
  {
    fields: `auto_mapping loftq_config eva_config corda_config lora_ga_config velora_config monteclora_config
      megatron_config kasa_config arrow_config runtime_config`,
    is: "an object",
    holds: isObject,
  },
];

const byField = new Map(
  kinds.flatMap(({ fields, ...kind }) => fields.split(/\s+/).map((field) => [field, kind] as const)),
);
/** Switches of later versions: some are objects when they are on. */
const laterSwitch = { is: "true, false or an object", holds: either(isFlag, isObject) };
/** PEFT writes null for what is not set, but not for these. */
const neverNull = new Set(["peft_type", "r", "lora_alpha", "lora_dropout"]);

/** Whether PEFT has, or in 2023 had, a field of this name. */
export function isPeftField(field: string): boolean {
  return byField.has(field) || field.startsWith("use_");
}

/** @throws ADAPTER_CONFIG naming the first field that holds a value of another kind than PEFT's, and the value. */
export function checkPeftFields(fields: ReadonlyMap<string, unknown>, file: string): void {
  for (const [field, value] of fields) {
    const kind = byField.get(field) ?? (field.startsWith("use_") ? laterSwitch : undefined);
    if (kind === undefined || kind.holds(value) || (value === null && !neverNull.has(field))) continue;
    throw new CodedError("ADAPTER_CONFIG", `${file}: ${field} must be ${kind.is}, found ${shown(value)}`, {
      hint: "Save the adapter again with PEFT, or correct the field",
    });
  }
}

export function shown(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 200);
}
