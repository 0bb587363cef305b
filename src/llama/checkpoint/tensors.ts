import { join } from "node:path";
import { hasBias, headNormName, type LlamaConfig, linearNames, linearPath, linearShape } from "../../engine/config.ts";
import type { TensorSource } from "../../engine/engine.ts";
import { isStoredType } from "../../engine/tensors/stored-types.ts";
import { CodedError } from "../../errors/index.ts";

/** A tensor of any type in a checkpoint's file; TensorSource is one that the engine can load. */
export interface TensorEntry extends Omit<TensorSource, "dtype"> {
  readonly dtype: string;
}

/** Finds a tensor by name; `file` is where it should be, for the error when it is not. */
export interface TensorFinder {
  readonly names: readonly string[];
  find(name: string): TensorEntry | undefined;
  /** File to name for a missing tensor. */
  readonly file: string;
}

export const embeddingName = "model.embed_tokens.weight";

/** Every tensor of a model by its Hugging Face name, with its shape. */
export function* expectedTensors(config: LlamaConfig): Generator<[name: string, shape: readonly number[]]> {
  const { vocabSize, hiddenSize } = config;
  yield [embeddingName, [vocabSize, hiddenSize]];
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    yield [`${prefix}.input_layernorm.weight`, [hiddenSize]];
    yield [`${prefix}.post_attention_layernorm.weight`, [hiddenSize]];
    for (const norm of config.queryKeyNorm ? (["q_norm", "k_norm"] as const) : []) {
      yield [headNormName(layer, norm), [config.headDim]];
    }
    for (const linear of linearNames) {
      const [out, input] = linearShape(config, linear);
      yield [`${linearPath(layer, linear)}.weight`, [out, input]];
      if (hasBias(config, linear)) yield [`${linearPath(layer, linear)}.bias`, [out]];
    }
  }
  yield ["model.norm.weight", [hiddenSize]];
  if (!config.tiedHead) yield ["lm_head.weight", [vocabSize, hiddenSize]];
}

/**
 * The tensors that `config` asks for, each with the shape it asks for, and the names of those that it does not.
 * Throws CHECKPOINT_TENSOR naming file, tensor and both shapes, CHECKPOINT_UNSUPPORTED for a type of number.
 */
export function collectTensors(
  config: LlamaConfig,
  source: TensorFinder,
): { tensors: Map<string, TensorSource>; ignored: string[] } {
  const tensors = new Map<string, TensorSource>();
  for (const [name, shape] of expectedTensors(config)) {
    const entry = source.find(name);
    if (entry === undefined) {
      throw new CodedError("CHECKPOINT_TENSOR", `${source.file}: tensor "${name}" of shape [${shape}] is missing`);
    }
    tensors.set(name, loadable(name, entry, shape));
  }
  const ignored = source.names.filter((name) => !tensors.has(name) && !isDerived(name));
  return { tensors, ignored };
}

/** Rows of the embedding: the real size of the vocabulary, which config.json of a resized checkpoint may not know. */
export function embeddingRows(config: LlamaConfig, source: TensorFinder): number {
  const shape = source.find(embeddingName)?.shape;
  return shape?.length === 2 && shape[0]! >= 1 ? shape[0]! : config.vocabSize;
}

function loadable(name: string, entry: TensorEntry, shape: readonly number[]): TensorSource {
  const { file, offset, dtype, interleavedHeads } = entry;
  if (entry.shape.length !== shape.length || entry.shape.some((size, i) => size !== shape[i])) {
    throw new CodedError(
      "CHECKPOINT_TENSOR",
      `${file}: tensor "${name}" has shape [${entry.shape.join(", ")}], the configuration asks for [${shape.join(", ")}]`,
    );
  }
  if (!isStoredType(dtype)) {
    throw new CodedError("CHECKPOINT_UNSUPPORTED", `${file}: tensor "${name}" is stored as ${dtype}`, {
      hint: "Weights in F32, F16 and BF16 can be loaded, and GGUF's Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 and Q2_K to Q6_K",
    });
  }
  return { file, offset, dtype, shape: entry.shape, interleavedHeads };
}

/** Computed from config.json; old conversions stored it. A tied head is the embedding. */
export function isDerived(name: string): boolean {
  return name.endsWith(".rotary_emb.inv_freq") || name === "lm_head.weight";
}

/** The path of a shard, whose name an index file gives and which must be a plain file name. */
export function shardPath(folder: string, name: unknown, indexFile: string): string {
  if (typeof name !== "string" || !/^[^/\\\0]{1,255}$/.test(name) || name === "." || name === "..") {
    throw new CodedError(
      "CHECKPOINT_CORRUPT",
      `${indexFile}: weight_map names ${JSON.stringify(name)}, which is no plain file name`,
    );
  }
  return join(folder, name);
}
