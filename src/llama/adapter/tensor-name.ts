import { type LinearName, linearPath } from "../../engine/config.ts";
import { CodedError } from "../../errors/index.ts";
import { type ModulePath, modulePathOf } from "./module-path.ts";

/**
 * What a tensor is to its module: half of a pair, B's bias, DoRA's magnitude, the scale's numerator; the module's own weight
 * or bias, or rows of some tokens, instead of the base's; or the base's own, kept beside a trained copy.
 */
export type AdapterPart = "A" | "B" | "B bias" | "magnitude" | "alpha" | "weight" | "bias" | "rows" | "original";

/** Which tool's way of naming pairs. PEFT has the scale in a file beside. */
export type Spelling = "peft" | "kohya" | "diffusers";

export interface AdapterTensorName extends ModulePath {
  readonly part: AdapterPart;
  readonly spelling: Spelling;
}

/** Paths of the modules outside the layers. */
export const embedding = "model.embed_tokens";
export const head = "lm_head";
const longestName = 1000;

interface Ending {
  readonly pattern: RegExp;
  readonly part: AdapterPart;
  readonly spelling?: Spelling;
}

/** Where the name of the adapter in memory was saved too, it stands here. */
const adapterName = "(?:\\.(?!weight$|bias$)[\\w-]+)?";
const ending = (text: string, part: AdapterPart, spelling: Spelling = "peft"): Ending => {
  return { pattern: new RegExp(`${text}$`), part, spelling };
};

const endings: readonly Ending[] = [
  ending(`\\.lora_A${adapterName}\\.weight`, "A"),
  ending(`\\.lora_B${adapterName}\\.weight`, "B"),
  ending(`\\.lora_B${adapterName}\\.bias`, "B bias"),
  ending(`\\.lora_embedding_A${adapterName}`, "A"),
  ending(`\\.lora_embedding_B${adapterName}`, "B"),
  ending(`\\.lora_magnitude_vector${adapterName}(?:\\.weight)?`, "magnitude"),
  ending("\\.lora_down\\.weight", "A", "kohya"),
  ending("\\.lora_up\\.weight", "B", "kohya"),
  ending("(?:\\.lora|_lora|\\.lora_linear_layer)\\.down\\.weight", "A", "diffusers"),
  ending("(?:\\.lora|_lora|\\.lora_linear_layer)\\.up\\.weight", "B", "diffusers"),
  ending("\\.alpha", "alpha", "kohya"),
  ending(`\\.token_adapter\\.trainable_tokens_delta${adapterName}`, "rows"),
  ending("\\.original_module\\.(?:weight|bias)", "original"),
  ending(`(?:\\.modules_to_save${adapterName}|\\.base_layer)?\\.weight`, "weight"),
  ending(`(?:\\.modules_to_save${adapterName}|\\.base_layer)?\\.bias`, "bias"),
];

/** Tensors of methods that would change the result if they were left out. */
const features: readonly (readonly [sign: RegExp, feature: string])[] = [
  [/dora_scale/, "DoRA in another tool's form"],
  [/hada_w\d|hada_t\d/, "LoHa"],
  [/lokr_w\d|lokr_t\d/, "LoKr"],
  [/lora_mid/, "LoCon with a middle factor"],
  [/ia3_/, "IA3"],
  [/prompt_embeddings|prefix_/, "prompt tuning"],
];

export function tensorName(layer: number, linear: LinearName, side: "A" | "B"): string {
  return `base_model.model.${linearPath(layer, linear)}.lora_${side}.weight`;
}

/** @throws ADAPTER_UNSUPPORTED naming the file, the tensor, and where known the feature it belongs to. */
export function parseTensorName(name: string, file: string): AdapterTensorName {
  for (const { pattern, part, spelling = "peft" } of endings) {
    const found = name.length > longestName ? null : pattern.exec(name);
    if (found === null) continue;
    const module = modulePathOf(name.slice(0, found.index));
    const isEmbedding = found[0].startsWith(".lora_embedding_");
    const isPair = part === "A" || part === "B";
    // Only an embedding's pair is transposed.
    const fits = !isPair || isEmbedding === (module?.path === embedding);
    if (module !== null && fits) return { ...module, part, spelling };
    break;
  }
  const feature = features.find(([sign]) => sign.test(name))?.[1];
  const what = feature
    ? `belongs to ${feature}, which is not supported`
    : "is not part of a LoRA pair of this model, nor one of its weights";
  throw new CodedError("ADAPTER_UNSUPPORTED", `${file}: tensor ${JSON.stringify(name.slice(0, 200))} ${what}`);
}
