import type { LlamaConfig } from "../../engine/config.ts";
import { configLimits } from "./config-limits.ts";
import { type Family, familyOf, slidingWindow } from "./families.ts";
import { type Fields, parseFields } from "./fields.ts";
import { ropeFromConfig } from "./rope.ts";

export interface CheckpointConfig {
  /** vocabSize is what config.json says; the embedding tensor decides. */
  readonly config: LlamaConfig;
  readonly bosTokenIds: readonly number[];
  readonly eosTokenIds: readonly number[];
  /** `_name_or_path`: a published name, or a path of the machine that wrote the file. */
  readonly nameOrPath: string | null;
}

/**
 * config.json of a Hugging Face checkpoint of one of the families.
 * Throws CHECKPOINT_CONFIG naming file, field and value, and CHECKPOINT_UNSUPPORTED naming what the engine lacks.
 * https://huggingface.co/docs/transformers/model_doc/llama
 */
export function parseConfig(text: string, file: string): CheckpointConfig {
  const fields = parseFields(text, file);
  const family = familyOf(fields);
  refuseUnsupported(fields, family);

  const hiddenSize = fields.count("hidden_size", configLimits.width);
  const heads = fields.count("num_attention_heads", configLimits.heads);
  const kvDefault = fields.isGiven("num_key_value_heads") ? null : family.kvHeads;
  const kvHeads = fields.count("num_key_value_heads", heads, kvDefault ?? heads);
  if (heads % kvHeads !== 0) fields.refuse("num_key_value_heads", `a divisor of num_attention_heads (${heads})`);
  const hasHeadDim = fields.has("head_dim") || family.headDim !== null;
  if (!hasHeadDim && hiddenSize % heads !== 0) {
    fields.refuse("hidden_size", `a multiple of num_attention_heads (${heads}), or head_dim`);
  }
  const headDim = fields.count("head_dim", configLimits.width, family.headDim ?? hiddenSize / heads);
  if (headDim % 2 !== 0) fields.refuse(hasHeadDim ? "head_dim" : "hidden_size", "an even head size");
  const rmsNormEps = fields.positive("rms_norm_eps", 1e-6);
  if (rmsNormEps >= 1) fields.refuse("rms_norm_eps", "a number below 1");
  const maxPositionEmbeddings = positions(fields, family);
  const layers = fields.count("num_hidden_layers", configLimits.layers);
  const config: LlamaConfig = {
    vocabSize: fields.count("vocab_size", configLimits.vocabulary),
    hiddenSize,
    intermediateSize: fields.count("intermediate_size", configLimits.width),
    layers,
    heads,
    kvHeads,
    headDim,
    rmsNormEps,
    maxPositionEmbeddings,
    slidingWindow: slidingWindow(fields, family, layers, configLimits.positions),
    tiedHead: fields.flag("tie_word_embeddings", false),
    attentionBias: family.attentionBias,
    queryKeyNorm: family.queryKeyNorm,
    rope: ropeFromConfig(fields, { headDim, maxPositionEmbeddings }),
  };
  const name = fields.raw("_name_or_path");
  return {
    config,
    ...specialIdsOf(fields),
    nameOrPath: typeof name === "string" ? name : null,
  };
}

/** The `bos_token_id` and `eos_token_id` of generation_config.json, each one or several. */
export function parseGenerationConfig(
  text: string,
  file: string,
): Pick<CheckpointConfig, "bosTokenIds" | "eosTokenIds"> {
  return specialIdsOf(parseFields(text, file));
}

function specialIdsOf(fields: Fields) {
  return { bosTokenIds: fields.tokenIds("bos_token_id"), eosTokenIds: fields.tokenIds("eos_token_id") };
}

function refuseUnsupported(fields: Fields, family: Family): void {
  const activation = fields.text("hidden_act", "silu");
  if (activation !== "silu")
    fields.unsupported("hidden_act", `activation "${activation}" is not supported, only "silu"`);
  // Qwen2 has no such field: its biases are on q, k and v, always. Elsewhere it means one on o_proj too.
  if (!family.attentionBias && fields.flag("attention_bias", false)) {
    fields.unsupported("attention_bias", "a bias on o_proj is not supported");
  }
  if (fields.flag("mlp_bias", false)) {
    fields.unsupported("mlp_bias", "biases on gate_proj, up_proj and down_proj are not supported");
  }
  const quantization = fields.object("quantization_config");
  if (quantization !== null) {
    const method = quantization.text("quant_method", "unknown");
    fields.unsupported("quantization_config", `weights quantised with "${method}" are not supported`);
  }
}

function positions(fields: Fields, family: Family): number {
  // decapoda's conversions of LLaMA spell it max_sequence_length.
  if (!fields.has("max_position_embeddings") && fields.has("max_sequence_length")) {
    return fields.count("max_sequence_length", configLimits.positions);
  }
  return fields.count("max_position_embeddings", configLimits.positions, family.positions);
}
