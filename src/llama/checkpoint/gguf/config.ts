import type { LlamaConfig } from "../../../engine/config.ts";
import { configLimits as limits } from "../config-limits.ts";
import { type Family, families } from "../families.ts";
import type { GgufTensor } from "./header.ts";
import type { Metadata } from "./metadata.ts";
import { ropeFromMetadata } from "./rope.ts";

/** What llama.cpp multiplies by, and what leaves everything as it is. */
const neutral = new Map([
  ["attention.scale", 0],
  ["attention.clamp_kqv", 0],
  ["attention.max_alibi_bias", 0],
  ["logit_scale", 1],
  ["residual_scale", 1],
  ["embedding_scale", 1],
  ["expert_count", 0],
]);

/**
 * The model's shape from a GGUF header.
 * @param ropeFactors the tensor rope_freqs.weight, by which inverse frequencies are divided; null where there is none
 * Throws CHECKPOINT_CONFIG naming file, key and value, and CHECKPOINT_UNSUPPORTED naming what the engine lacks.
 */
export function configFromMetadata(
  metadata: Metadata,
  tensors: ReadonlyMap<string, Pick<GgufTensor, "shape">>,
  ropeFactors: Float32Array | null,
): LlamaConfig {
  const family = architectureOf(metadata);
  const key = (name: string) => `${family.type}.${name}`;
  refuseUnsupported(metadata, key, tensors, family);
  const hiddenSize = metadata.count(key("embedding_length"), limits.width);
  const heads = metadata.count(key("attention.head_count"), limits.heads);
  const kvHeads = metadata.count(key("attention.head_count_kv"), heads, heads);
  if (heads % kvHeads !== 0) metadata.refuse(key("attention.head_count_kv"), `a divisor of the heads (${heads})`);
  const headDim = headSize(metadata, key, hiddenSize, heads);
  const rmsNormEps = metadata.positive(key("attention.layer_norm_rms_epsilon"));
  if (rmsNormEps >= 1) metadata.refuse(key("attention.layer_norm_rms_epsilon"), "a number below 1");
  const maxPositionEmbeddings = metadata.count(key("context_length"), limits.positions);
  const pieces = metadata.texts("tokenizer.ggml.tokens")?.length;
  return {
    vocabSize: metadata.count(key("vocab_size"), limits.vocabulary, pieces),
    hiddenSize,
    intermediateSize: metadata.count(key("feed_forward_length"), limits.width),
    layers: metadata.count(key("block_count"), limits.layers),
    heads,
    kvHeads,
    headDim,
    rmsNormEps,
    maxPositionEmbeddings,
    slidingWindow: slidingWindow(metadata, key("attention.sliding_window"), family),
    tiedHead: !tensors.has("output.weight"),
    attentionBias: family.attentionBias,
    queryKeyNorm: family.queryKeyNorm,
    rope: ropeFromMetadata(metadata, key, { headDim, maxPositionEmbeddings }, ropeFactors),
  };
}

/** GGUF's architectures are called as config.json's families. Files of Mistral mostly say "llama". */
export function architectureOf(metadata: Metadata): Family {
  const type = metadata.text("general.type") ?? "model";
  if (type !== "model") {
    const what =
      type === "adapter" ? "is a LoRA adapter, which is no model" : `is of type "${type}", which is no model`;
    metadata.unsupported("general.type", what);
  }
  const architecture = metadata.text("general.architecture");
  if (architecture === null) return metadata.refuse("general.architecture", "a text");
  const family = families.find(({ type }) => type === architecture);
  if (family !== undefined) return family;
  const known = families.map((known) => `"${known.type}"`).join(", ");
  return metadata.unsupported(
    "general.architecture",
    `"${architecture.slice(0, 100)}" is not supported, only ${known}`,
  );
}

function slidingWindow(metadata: Metadata, key: string, family: Family): number | null {
  const window = metadata.raw(key);
  if (window === null || window === 0) return null;
  // Of Qwen's layers some have it, and nothing in the file says which.
  if (family.window === "asked") metadata.unsupported(key, "a window on some of the layers is not supported");
  return metadata.count(key, limits.positions);
}

function refuseUnsupported(
  metadata: Metadata,
  key: (name: string) => string,
  tensors: ReadonlyMap<string, unknown>,
  family: Family,
): void {
  for (const [name, value] of neutral) {
    const given = metadata.raw(key(name));
    if (given !== null && given !== value && given !== 0) metadata.unsupported(key(name), `${given} is not supported`);
  }
  if (metadata.flag(key("attention.causal")) === false) {
    metadata.unsupported(key("attention.causal"), "attention to later tokens is not supported");
  }
  for (const name of tensors.keys()) {
    const [, part] = /^blk\.\d+\.(\w+)\.bias$/.exec(name) ?? [];
    if (part === undefined || (family.attentionBias && /^attn_[qkv]$/.test(part))) continue;
    metadata.unsupported(name.slice(0, 100), `biases there are not supported in "${family.type}"`);
  }
}

function headSize(metadata: Metadata, key: (name: string) => string, hiddenSize: number, heads: number): number {
  const given = metadata.has(key("attention.key_length"));
  if (!given && hiddenSize % heads !== 0) {
    metadata.refuse(key("embedding_length"), `a multiple of the heads (${heads}), or attention.key_length`);
  }
  const headDim = metadata.count(key("attention.key_length"), limits.width, hiddenSize / heads);
  const sizeKey = key(given ? "attention.key_length" : "embedding_length");
  if (headDim % 2 !== 0) metadata.refuse(sizeKey, "an even head size");
  for (const [name, why] of [
    ["attention.value_length", "values of another size than keys are not supported"],
    ["rope.dimension_count", "rotating a part of each head is not supported"],
  ] as const) {
    if (metadata.count(key(name), limits.width, headDim) !== headDim) metadata.unsupported(key(name), why);
  }
  return headDim;
}
