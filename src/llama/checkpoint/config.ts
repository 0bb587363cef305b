import type { LlamaConfig } from "../../engine/config.ts";
import { CodedError } from "../../errors/index.ts";
import { parseBoundedJson } from "../bounded-json.ts";
import { Fields } from "./fields.ts";
import { ropeFromConfig } from "./rope.ts";

export interface CheckpointConfig {
  /** vocabSize is what config.json says; the embedding tensor decides. */
  readonly config: LlamaConfig;
  readonly bosTokenIds: readonly number[];
  readonly eosTokenIds: readonly number[];
  /** `_name_or_path`: a published name, or a path of the machine that wrote the file. */
  readonly nameOrPath: string | null;
}

/** Far above every published model; products of two of them stay exact. */
export const configLimits = { width: 2 ** 20, layers: 1024, heads: 4096, vocabulary: 2 ** 24, positions: 2 ** 24 };

/**
 * config.json of a Hugging Face LLaMA (or Mistral) checkpoint.
 * Throws CHECKPOINT_CONFIG naming file, field and value, and CHECKPOINT_UNSUPPORTED naming what the engine lacks.
 * https://huggingface.co/docs/transformers/model_doc/llama
 */
export function parseConfig(text: string, file: string): CheckpointConfig {
  const fields = new Fields(parseObject(text, file), file);
  const mistral = refuseUnsupported(fields) === "mistral";

  const hiddenSize = fields.count("hidden_size", configLimits.width);
  const heads = fields.count("num_attention_heads", configLimits.heads);
  // transformers' Mistral has other defaults for what is left out.
  const kvHeads =
    fields.isGiven("num_key_value_heads") || !mistral ? fields.count("num_key_value_heads", heads, heads) : 8;
  if (heads % kvHeads !== 0) fields.refuse("num_key_value_heads", `a divisor of num_attention_heads (${heads})`);
  if (!fields.has("head_dim") && hiddenSize % heads !== 0) {
    fields.refuse("hidden_size", `a multiple of num_attention_heads (${heads}), or head_dim`);
  }
  const headDim = fields.count("head_dim", configLimits.width, hiddenSize / heads);
  if (headDim % 2 !== 0) fields.refuse(fields.has("head_dim") ? "head_dim" : "hidden_size", "an even head size");
  const rmsNormEps = fields.positive("rms_norm_eps", 1e-6);
  if (rmsNormEps >= 1) fields.refuse("rms_norm_eps", "a number below 1");
  const maxPositionEmbeddings = positions(fields, mistral);
  const config: LlamaConfig = {
    vocabSize: fields.count("vocab_size", configLimits.vocabulary),
    hiddenSize,
    intermediateSize: fields.count("intermediate_size", configLimits.width),
    layers: fields.count("num_hidden_layers", configLimits.layers),
    heads,
    kvHeads,
    headDim,
    rmsNormEps,
    maxPositionEmbeddings,
    slidingWindow: mistral ? slidingWindow(fields) : null,
    tiedHead: fields.flag("tie_word_embeddings", false),
    attentionBias: false,
    queryKeyNorm: false,
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
  return specialIdsOf(new Fields(parseObject(text, file), file));
}

function specialIdsOf(fields: Fields) {
  return { bosTokenIds: fields.tokenIds("bos_token_id"), eosTokenIds: fields.tokenIds("eos_token_id") };
}

function parseObject(text: string, file: string): object {
  let value: unknown;
  try {
    value = parseBoundedJson(text.replace(/^\ufeff/, ""));
  } catch (error) {
    throw new CodedError("CHECKPOINT_CONFIG", `${file}: not valid JSON: ${(error as Error).message}`, { cause: error });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new CodedError("CHECKPOINT_CONFIG", `${file}: holds no JSON object`);
}

function refuseUnsupported(fields: Fields): "llama" | "mistral" {
  const architecture = fields.raw("architectures");
  const first = Array.isArray(architecture) ? String(architecture[0]).toLowerCase() : "";
  const type = fields.text("model_type", first.startsWith("mistral") ? "mistral" : "llama").toLowerCase();
  if (type !== "llama" && type !== "mistral") {
    fields.unsupported("model_type", `models of type "${type}" are not supported, only "llama" and "mistral"`);
  }
  if (first !== "" && !first.startsWith(type)) {
    fields.unsupported("architectures", `"${first}" is not supported with model_type "${type}"`);
  }
  const activation = fields.text("hidden_act", "silu");
  if (activation !== "silu")
    fields.unsupported("hidden_act", `activation "${activation}" is not supported, only "silu"`);
  for (const bias of ["attention_bias", "mlp_bias"]) {
    if (fields.flag(bias, false)) fields.unsupported(bias, "biases on linear layers are not supported");
  }
  const quantization = fields.object("quantization_config");
  if (quantization !== null) {
    const method = quantization.text("quant_method", "unknown");
    fields.unsupported("quantization_config", `weights quantised with "${method}" are not supported`);
  }
  return type;
}

function positions(fields: Fields, mistral: boolean): number {
  // decapoda's conversions of LLaMA spell it max_sequence_length.
  if (!fields.has("max_position_embeddings") && fields.has("max_sequence_length")) {
    return fields.count("max_sequence_length", configLimits.positions);
  }
  return fields.count("max_position_embeddings", configLimits.positions, mistral ? 131_072 : 2048);
}

function slidingWindow(fields: Fields): number | null {
  if (!fields.isGiven("sliding_window")) return 4096;
  return fields.has("sliding_window") ? fields.count("sliding_window", configLimits.positions) : null;
}
