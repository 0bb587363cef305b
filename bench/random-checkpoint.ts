import { closeSync, existsSync, mkdirSync, openSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type LlamaConfig, linearNames, linearPath, linearShape } from "../src/engine/config.ts";
import type { ModelWeights, TensorSource, WeightType } from "../src/engine/engine.ts";

/** GPT-2-small-sized LLaMA with LLaMA's vocabulary: 134 M parameters, 110 M of them outside the input embedding. */
export const shape110M: LlamaConfig = {
  vocabSize: 32000,
  hiddenSize: 768,
  intermediateSize: 2048,
  layers: 12,
  heads: 12,
  kvHeads: 12,
  headDim: 64,
  rmsNormEps: 1e-5,
  maxPositionEmbeddings: 2048,
  slidingWindow: null,
  tiedHead: false,
  attentionBias: false,
  queryKeyNorm: false,
  rope: { inverseFrequencies: Float32Array.from({ length: 32 }, (_, i) => 10000 ** (-i / 32)), attentionScaling: 1 },
};

function tensorShapes(config: LlamaConfig): [name: string, shape: number[]][] {
  const shapes: [string, number[]][] = [["model.embed_tokens.weight", [config.vocabSize, config.hiddenSize]]];
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    shapes.push([`${prefix}.input_layernorm.weight`, [config.hiddenSize]]);
    shapes.push([`${prefix}.post_attention_layernorm.weight`, [config.hiddenSize]]);
    for (const linear of linearNames) {
      shapes.push([`${linearPath(layer, linear)}.weight`, [...linearShape(config, linear)]]);
    }
  }
  shapes.push(["model.norm.weight", [config.hiddenSize]]);
  if (!config.tiedHead) shapes.push(["lm_head.weight", [config.vocabSize, config.hiddenSize]]);
  return shapes;
}

/** Uniform weights of standard deviation about 0.02 (norms about 1), from a fixed xorshift stream, as 16- or 32-bit floats. */
function randomTensor(elements: number, dtype: WeightType, norm: boolean, state: { x: number }): Uint8Array {
  const values = new Float32Array(elements);
  for (let i = 0; i < elements; i++) {
    state.x ^= state.x << 13;
    state.x ^= state.x >>> 17;
    state.x ^= state.x << 5;
    values[i] = (norm ? 1 : 0) + (state.x / 2 ** 31) * 0.035;
  }
  if (dtype === "F32") return new Uint8Array(values.buffer);
  const bits = new Uint32Array(values.buffer);
  const halves = new Uint16Array(elements);
  for (let i = 0; i < elements; i++) halves[i] = (bits[i]! + 0x7fff + ((bits[i]! >>> 16) & 1)) >>> 16;
  return new Uint8Array(halves.buffer);
}

/** Writes (once) a checkpoint of random weights as one safetensors file in `folder`, with a config.json for other programs. */
export function randomCheckpoint(folder: string, config: LlamaConfig, dtype: "F32" | "BF16"): ModelWeights {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `random-${dtype}.safetensors`);
  const bytes = dtype === "F32" ? 4 : 2;
  const header: Record<string, unknown> = {};
  const tensors = new Map<string, TensorSource>();
  let end = 0;
  for (const [name, shape] of tensorShapes(config)) {
    const begin = end;
    end += shape.reduce((a, b) => a * b, bytes);
    header[name] = { dtype, shape, data_offsets: [begin, end] };
    tensors.set(name, { file, offset: begin, dtype, shape });
  }
  let json = JSON.stringify(header);
  json += " ".repeat(-json.length & 7);
  for (const [name, source] of tensors) tensors.set(name, { ...source, offset: 8 + json.length + source.offset });

  if (!existsSync(file)) {
    const descriptor = openSync(`${file}.part`, "w");
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    writeSync(descriptor, length);
    writeSync(descriptor, json);
    const state = { x: 0x2545f491 };
    for (const [name, { shape }] of tensors) {
      writeSync(
        descriptor,
        randomTensor(
          shape.reduce((a, b) => a * b, 1),
          dtype,
          name.includes("norm"),
          state,
        ),
      );
    }
    closeSync(descriptor);
    renameSync(`${file}.part`, file);
  }
  writeFileSync(join(folder, "config.json"), JSON.stringify(transformersConfig(config), null, 2));
  return { config, tensors };
}

function transformersConfig(config: LlamaConfig): object {
  return {
    model_type: "llama",
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    max_position_embeddings: config.maxPositionEmbeddings,
    rms_norm_eps: config.rmsNormEps,
    tie_word_embeddings: config.tiedHead,
  };
}
