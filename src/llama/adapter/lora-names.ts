/** How a family of LoRA files spells the two halves of a pair; `end` follows the module's name. */
interface Spelling {
  readonly family: string;
  readonly a: string;
  readonly b: string;
}

const spellings: readonly Spelling[] = [
  { family: "peft", a: ".lora_A.weight", b: ".lora_B.weight" },
  { family: "peft", a: ".lora_A.default.weight", b: ".lora_B.default.weight" },
  { family: "peft", a: ".lora_embedding_A", b: ".lora_embedding_B" },
  { family: "kohya", a: ".lora_down.weight", b: ".lora_up.weight" },
  { family: "diffusers", a: ".lora.down.weight", b: ".lora.up.weight" },
  { family: "diffusers", a: "_lora.down.weight", b: "_lora.up.weight" },
  { family: "diffusers", a: ".lora_linear_layer.down.weight", b: ".lora_linear_layer.up.weight" },
  { family: "gguf", a: ".lora_a", b: ".lora_b" },
];

const features: readonly (readonly [sign: RegExp, feature: string])[] = [
  [/lora_magnitude_vector|dora_scale/, "DoRA"],
  [/hada_w[12]|hada_t[12]/, "LoHa"],
  [/lokr_w[12]|lokr_t2/, "LoKr"],
  [/lora_mid/, "LoCon with a middle factor"],
  [/lora_[AB](\.default)?\.bias$/, "biases of an adapter"],
  [/trainable_tokens/, "trainable tokens"],
  [/\.(diff|diff_b)$/, "whole differences of weights"],
];

export type LoraTensorName =
  | { readonly kind: "A" | "B"; readonly module: string; readonly spelling: Spelling }
  | { readonly kind: "alpha"; readonly module: string };

/** What a tensor's name says; null for one that belongs to no pair. */
export function parseLoraName(name: string): LoraTensorName | null {
  for (const spelling of spellings) {
    if (name.endsWith(spelling.a)) return { kind: "A", module: name.slice(0, -spelling.a.length), spelling };
    if (name.endsWith(spelling.b)) return { kind: "B", module: name.slice(0, -spelling.b.length), spelling };
  }
  return name.endsWith(".alpha") ? { kind: "alpha", module: name.slice(0, -".alpha".length) } : null;
}

/** The feature that a tensor of no pair belongs to, where it is known. */
export function loraFeature(name: string): string | null {
  return features.find(([sign]) => sign.test(name))?.[1] ?? null;
}
