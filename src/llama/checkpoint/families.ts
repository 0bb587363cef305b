import type { Fields } from "./fields.ts";

/** A family of decoders: what its layers have, and transformers' values for what its config.json leaves out. */
export interface Family {
  /** `model_type`; `architectures` begins with it. */
  readonly type: string;
  /** null: as many as query heads. */
  readonly kvHeads: number | null;
  /** null: hidden_size / num_attention_heads. */
  readonly headDim: number | null;
  readonly positions: number;
  readonly attentionBias: boolean;
  readonly queryKeyNorm: boolean;
  /**
   * Whether `sliding_window` is read: not at all, always, or where `use_sliding_window` asks for it, and then for layers
   * from `max_window_layers` on.
   */
  readonly window: "none" | "always" | "asked";
}

const llama: Family = {
  type: "llama",
  kvHeads: null,
  headDim: null,
  positions: 2048,
  attentionBias: false,
  queryKeyNorm: false,
  window: "none",
};

const qwen2: Family = {
  ...llama,
  type: "qwen2",
  kvHeads: 32,
  positions: 32_768,
  attentionBias: true,
  window: "asked",
};

/**
 * LLaMA (TinyLlama, Yi, DeepSeek-LLM and SmolLM call themselves so), Mistral, Qwen2 (2.5 too) and Qwen3, dense.
 * https://github.com/huggingface/transformers/tree/main/src/transformers/models
 */
export const families: readonly Family[] = [
  llama,
  { ...llama, type: "mistral", kvHeads: 8, positions: 131_072, window: "always" },
  qwen2,
  { ...qwen2, type: "qwen3", headDim: 128, attentionBias: false, queryKeyNorm: true },
];

/** The family that config.json names. Throws CHECKPOINT_UNSUPPORTED naming another. */
export function familyOf(fields: Fields): Family {
  const architecture = fields.raw("architectures");
  const first = Array.isArray(architecture) ? String(architecture[0]).toLowerCase() : "";
  const names = (family: Family) => new RegExp(`^${family.type}(for|model|$)`).test(first);
  const type = fields.text("model_type", families.find(names)?.type ?? "llama").toLowerCase();
  const family = families.find((known) => known.type === type);
  if (family === undefined) {
    const all = families.map((known) => `"${known.type}"`).join(", ");
    return fields.unsupported("model_type", `models of type "${type}" are not supported, only ${all}`);
  }
  if (first !== "" && !names(family)) {
    fields.unsupported("architectures", `"${first}" is not supported with model_type "${type}"`);
  }
  return family;
}

/**
 * Every layer's window, at most `most`; null: none. Throws CHECKPOINT_UNSUPPORTED where only some layers have one.
 */
export function slidingWindow(fields: Fields, family: Family, layers: number, most: number): number | null {
  if (family.window === "none") return null;
  const isAsked = family.window === "always" || fields.flag("use_sliding_window", false);
  const isOff = fields.isGiven("sliding_window") && !fields.has("sliding_window");
  const window = isAsked && !isOff ? fields.count("sliding_window", most, 4096) : null;
  if (family.window === "always") return window;
  const { name, count } = windowedLayers(fields, window !== null, layers);
  if (count > 0 && (count < layers || window === null)) {
    fields.unsupported(name, `a window on ${count} of ${layers} layers is not supported`);
  }
  return count > 0 ? window : null;
}

/** How many layers have the window, and the field that says so. */
function windowedLayers(fields: Fields, hasWindow: boolean, layers: number): { name: string; count: number } {
  const types = fields.raw("layer_types");
  if (types !== null) {
    const isWindowed = (type: unknown) => type === "sliding_attention";
    if (!Array.isArray(types) || types.length !== layers) fields.refuse("layer_types", `a list of ${layers} texts`);
    const list: unknown[] = types as unknown[];
    const other = list.find((type) => type !== "full_attention" && !isWindowed(type));
    if (other !== undefined)
      fields.unsupported("layer_types", `${JSON.stringify(other).slice(0, 100)} is not supported`);
    return { name: "layer_types", count: list.filter(isWindowed).length };
  }
  const first = fields.raw("max_window_layers") ?? 28;
  if (!Number.isSafeInteger(first) || (first as number) < 0) fields.refuse("max_window_layers", "a whole number");
  return { name: "max_window_layers", count: hasWindow ? Math.max(0, layers - (first as number)) : 0 };
}
