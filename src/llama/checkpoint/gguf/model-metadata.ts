import type { LlamaConfig } from "../../../engine/config.ts";
import { CodedError } from "../../../errors/index.ts";
import { Fields } from "../fields.ts";
import { ropeFromConfig, ropeParameters, yarnMagnitude } from "../rope.ts";
import type { GgufTensorToWrite, GgufWritten } from "./write.ts";
import { architectureOf, type GgufType } from "./written-model.ts";

/** llama.cpp's llama_ftype: what most tensors of the file are. */
export const fileTypes: Readonly<Record<GgufType, number>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q8_0: 7,
  Q5_0: 8,
  Q5_1: 9,
  BF16: 32,
};

export interface ModelMetadata {
  readonly metadata: Map<string, GgufWritten>;
  /** rope_freqs.weight, where the rotary embedding needs it. */
  readonly tensors: readonly GgufTensorToWrite[];
}

/**
 * What a GGUF header says of a model's shape.
 * @param configJson the model as config.json has it, for the rotary embedding
 * @throws CHECKPOINT_UNSUPPORTED for a rotary embedding that GGUF cannot say
 */
export function modelMetadata(
  config: LlamaConfig,
  configJson: object,
  { name, type }: { readonly name: string; readonly type: GgufType },
): ModelMetadata {
  const architecture = architectureOf(config);
  const key = (part: string) => `${architecture}.${part}`;
  const rope = ropeMetadata(config, configJson, key);
  const metadata = new Map<string, GgufWritten>([
    ["general.architecture", { text: architecture }],
    ["general.type", { text: "model" }],
    ["general.name", { text: name }],
    ["general.file_type", { u32: fileTypes[type] }],
    ["general.quantization_version", { u32: 2 }],
    [key("context_length"), { u32: config.maxPositionEmbeddings }],
    [key("embedding_length"), { u32: config.hiddenSize }],
    [key("block_count"), { u32: config.layers }],
    [key("feed_forward_length"), { u32: config.intermediateSize }],
    [key("vocab_size"), { u32: config.vocabSize }],
    [key("attention.head_count"), { u32: config.heads }],
    [key("attention.head_count_kv"), { u32: config.kvHeads }],
    [key("attention.layer_norm_rms_epsilon"), { f32: config.rmsNormEps }],
    [key("attention.key_length"), { u32: config.headDim }],
    [key("attention.value_length"), { u32: config.headDim }],
    [key("rope.dimension_count"), { u32: config.headDim }],
    ...rope.metadata,
  ]);
  if (config.slidingWindow !== null) metadata.set(key("attention.sliding_window"), { u32: config.slidingWindow });
  return { metadata, tensors: rope.tensors };
}

function ropeMetadata(config: LlamaConfig, configJson: object, key: (part: string) => string) {
  const { parameters, theta, type } = ropeParameters(new Fields(configJson, "config.json"));
  const metadata: [string, GgufWritten][] = [[key("rope.freq_base"), { f32: theta }]];
  switch (type) {
    case "default":
    case "dynamic":
      return { metadata, tensors: [] };
    case "linear":
      metadata.push([key("rope.scaling.type"), { text: "linear" }]);
      metadata.push([key("rope.scaling.factor"), { f32: parameters!.positive("factor") }]);
      return { metadata, tensors: [] };
    case "llama3":
      return { metadata, tensors: [divisors(config, theta)] };
    case "yarn": {
      const original = parameters!.positive("original_max_position_embeddings", config.maxPositionEmbeddings);
      const factor = parameters!.positive("factor", config.maxPositionEmbeddings / original);
      metadata.push([key("rope.scaling.type"), { text: "yarn" }]);
      metadata.push([key("rope.scaling.factor"), { f32: factor }]);
      metadata.push([key("rope.scaling.original_context_length"), { u32: original }]);
      // llama.cpp multiplies by its own factor what it computes itself.
      const attention = config.rope.attentionScaling / yarnMagnitude(factor);
      if (Math.abs(attention - 1) > 1e-6) metadata.push([key("rope.scaling.attn_factor"), { f32: attention }]);
      return { metadata, tensors: [] };
    }
    default:
      throw new CodedError("CHECKPOINT_UNSUPPORTED", `config.json: rotary embedding "${type}" has no form in GGUF`);
  }
}

/** Llama 3.1's scaling: by what each frequency is divided, [headDim / 2]. */
function divisors({ headDim, maxPositionEmbeddings, rope }: LlamaConfig, theta: number): GgufTensorToWrite {
  const plain = ropeFromConfig(new Fields({ rope_theta: theta }, "config.json"), { headDim, maxPositionEmbeddings });
  const values = rope.inverseFrequencies.map((scaled, i) => plain.inverseFrequencies[i]! / scaled);
  return {
    name: "rope_freqs.weight",
    dtype: "F32",
    shape: [headDim / 2],
    async *parts() {
      yield new Uint8Array(values.buffer);
    },
  };
}
