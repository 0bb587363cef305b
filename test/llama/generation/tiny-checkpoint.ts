import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LlamaConfig } from "../../../src/engine/config.ts";
import { writeRandomModel } from "../../engine/random-model.ts";
import { modelFile, usualPieces } from "../tokenizer/sentencepiece-fixture.ts";

/** Pieces beside the 256 bytes: enough that a random model answers in words. */
export const words = ["▁the", "▁a", "▁llama", "▁eats", "▁grass", "▁and", "▁sleeps", ".", "s", "e", "▁", "羊", "驼"];

const headDim = 8;

export const tinyConfig: LlamaConfig = {
  vocabSize: 259 + words.length,
  hiddenSize: 32,
  intermediateSize: 48,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim,
  rmsNormEps: 1e-5,
  maxPositionEmbeddings: 512,
  slidingWindow: null,
  tiedHead: false,
  attentionBias: false,
  queryKeyNorm: false,
  rope: {
    inverseFrequencies: Float32Array.from({ length: headDim / 2 }, (_, i) => 10000 ** ((-2 * i) / headDim)),
    attentionScaling: 1,
  },
};

/** Where a tiny model differs from the usual one; with biases it is a Qwen2. */
export type TinyVariant = Partial<Pick<LlamaConfig, "tiedHead" | "attentionBias">>;

/** A Hugging Face folder of a random model, a few kilobytes large, with a vocabulary of its own. */
export async function writeTinyCheckpoint(folder: string, seed = 1, variant: TinyVariant = {}): Promise<void> {
  const { tiedHead, attentionBias } = { ...tinyConfig, ...variant };
  await writeRandomModel(folder, { ...tinyConfig, ...variant }, seed, "F32");
  renameSync(join(folder, `random-${seed}-F32.safetensors`), join(folder, "model.safetensors"));
  writeFileSync(join(folder, "tokenizer.model"), modelFile(usualPieces(words)));
  const config = {
    model_type: attentionBias ? "qwen2" : "llama",
    architectures: [attentionBias ? "Qwen2ForCausalLM" : "LlamaForCausalLM"],
    vocab_size: tinyConfig.vocabSize,
    hidden_size: tinyConfig.hiddenSize,
    intermediate_size: tinyConfig.intermediateSize,
    num_hidden_layers: tinyConfig.layers,
    num_attention_heads: tinyConfig.heads,
    num_key_value_heads: tinyConfig.kvHeads,
    max_position_embeddings: tinyConfig.maxPositionEmbeddings,
    rms_norm_eps: tinyConfig.rmsNormEps,
    rope_theta: 10000,
    hidden_act: "silu",
    tie_word_embeddings: tiedHead,
    bos_token_id: 1,
    eos_token_id: 2,
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
}
