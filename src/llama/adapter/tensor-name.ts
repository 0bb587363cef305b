import { type LinearName, linearNames, linearPath } from "../../engine/config.ts";
import { CodedError } from "../../errors/index.ts";

/** A tensor of an adapter file: the A or B of one linear. */
export interface AdapterTensorName {
  readonly layer: number;
  readonly linear: LinearName;
  readonly side: "A" | "B";
  /** Without PEFT's "base_model.model." in front, as some tools write it. */
  readonly bare: boolean;
}

const pattern =
  /^(base_model\.model\.)?model\.layers\.(\d{1,9})\.(self_attn|mlp)\.(\w+)\.lora_([AB])(?:\.default)?\.weight$/;

/** Tensors of PEFT features that would change the result if they were left out. */
const features: [RegExp, string][] = [
  [/lora_magnitude_vector/, "DoRA"],
  [/lora_[AB](\.default)?\.bias$/, "biases of an adapter"],
  [/lora_embedding_[AB]/, "adapters on embeddings"],
  [/trainable_tokens/, "trainable tokens"],
  [/lm_head/, "adapters or replacements of lm_head"],
  [/embed_tokens/, "replaced embeddings"],
];

export function tensorName(layer: number, linear: LinearName, side: "A" | "B"): string {
  return `base_model.model.${linearPath(layer, linear)}.lora_${side}.weight`;
}

/** @throws ADAPTER_UNSUPPORTED naming the file, the tensor, and where known the feature it belongs to. */
export function parseTensorName(name: string, file: string): AdapterTensorName {
  const [, prefix, layer, , linear, side] = pattern.exec(name) ?? [];
  const known = linearNames.find((candidate) => candidate === linear);
  const parsed = known && { layer: Number(layer), linear: known, side: side as "A" | "B", bare: prefix === undefined };
  if (parsed && name.includes(linearPath(parsed.layer, parsed.linear))) return parsed;
  const feature = features.find(([sign]) => sign.test(name))?.[1];
  const what = feature ? `belongs to ${feature}, which are not supported` : "is not part of a LoRA pair of this model";
  throw new CodedError("ADAPTER_UNSUPPORTED", `${file}: tensor ${JSON.stringify(name.slice(0, 200))} ${what}`);
}
