import type { LlamaConfig } from "../../../engine/config.ts";
import { CodedError } from "../../../errors/index.ts";
import { Fields } from "../fields.ts";
import { ropeParameters } from "../rope.ts";

/**
 * params.json for a model, with which Meta's code makes the same shape.
 * @param configJson the model as config.json has it, for the rotary embedding
 * @throws CHECKPOINT_UNSUPPORTED naming what Meta's code does not have
 */
export function paramsJson(config: LlamaConfig, configJson: object): object {
  const refuse = (what: string): never => {
    throw new CodedError("CHECKPOINT_UNSUPPORTED", `Meta's format has no ${what}`, { hint: "Export it as GGUF." });
  };
  if (config.attentionBias) refuse("biases");
  if (config.queryKeyNorm) refuse("norms of queries and keys");
  if (config.heads * config.headDim !== config.hiddenSize) refuse("heads of another size than dim / n_heads");
  return {
    dim: config.hiddenSize,
    n_layers: config.layers,
    n_heads: config.heads,
    n_kv_heads: config.kvHeads,
    vocab_size: config.vocabSize,
    ...feedForward(config),
    norm_eps: config.rmsNormEps,
    ...rope(configJson, refuse),
    ...(config.slidingWindow === null ? {} : { sliding_window: config.slidingWindow }),
  };
}

/** Meta's formula rounds two thirds of four times dim, times a multiplier, up to a multiple. */
function feedForward({ hiddenSize, intermediateSize }: LlamaConfig): object {
  const twoThirds = Math.floor((8 * hiddenSize) / 3);
  for (let multiple = 4096; multiple >= 1; multiple /= 2) {
    if (multiple * Math.ceil(twoThirds / multiple) === intermediateSize) return { multiple_of: multiple };
  }
  // Half above the whole number, so that no rounding leads below it.
  return { multiple_of: 1, ffn_dim_multiplier: (intermediateSize + 0.5) / twoThirds };
}

function rope(configJson: object, refuse: (what: string) => never): object {
  const { parameters, theta, type } = ropeParameters(new Fields(configJson, "config.json"));
  if (type === "default" || type === "dynamic") return { rope_theta: theta };
  const isMetas =
    type === "llama3" &&
    parameters!.positive("low_freq_factor") === 1 &&
    parameters!.positive("high_freq_factor") === 4 &&
    parameters!.positive("original_max_position_embeddings", 8192) === 8192;
  if (!isMetas) refuse(`rotary embedding "${type}" of these factors`);
  return { rope_theta: theta, use_scaled_rope: true, rope_scaling_factor: parameters!.positive("factor") };
}
