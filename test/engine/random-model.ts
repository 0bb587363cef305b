import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import {
  hasBias,
  headNormName,
  type LinearName,
  type LlamaConfig,
  linearNames,
  linearPath,
  linearShape,
} from "../../src/engine/config.ts";
import type { AdapterModule, ModelWeights, PackedBatch, TensorSource, WeightType } from "../../src/engine/engine.ts";
import { philox4x32, split64, unitInterval } from "../../src/engine/philox.ts";

/** Independent uniform numbers in [-1, 1): a pure function of (seed, stream, index), equal on every platform. */
export function randomValues(length: number, seed: number, stream: number, size = 1): Float32Array {
  const values = new Float32Array(length);
  const [low, high] = split64(seed);
  for (let i = 0; i < length; i += 4) {
    const words = philox4x32([i >>> 2, stream, 0, 0], low, high);
    for (let lane = 0; lane < 4 && i + lane < length; lane++) {
      values[i + lane] = (unitInterval(words[lane]!) * 2 - 1) * size;
    }
  }
  return values;
}

/** Integers in [0, below). */
export function randomIntegers(length: number, below: number, seed: number, stream: number): Int32Array {
  return Int32Array.from(randomValues(length, seed, stream), (value) => Math.floor(((value + 1) / 2) * below));
}

/** A tiny decoder of odd sizes (grouped heads, hidden size unlike heads * headDim); the seed chooses among variants. */
export function randomConfig(seed: number): LlamaConfig {
  const pick = <T>(values: readonly T[], stream: number): T =>
    values[randomIntegers(1, values.length, seed, stream)[0]!]!;
  const kvHeads = pick([1, 2, 3], 1);
  const headDim = pick([6, 10, 16], 2);
  return {
    vocabSize: pick([61, 97, 131], 3),
    hiddenSize: pick([20, 37, 48], 4),
    intermediateSize: pick([29, 53, 64], 5),
    layers: pick([2, 3], 6),
    heads: kvHeads * pick([1, 2, 3], 7),
    kvHeads,
    headDim,
    rmsNormEps: 1e-5,
    maxPositionEmbeddings: 4096,
    slidingWindow: pick([null, null, 5], 8),
    tiedHead: pick([true, false], 9),
    attentionBias: false,
    queryKeyNorm: false,
    rope: {
      inverseFrequencies: Float32Array.from({ length: headDim / 2 }, (_, i) => 10000 ** ((-2 * i) / headDim)),
      attentionScaling: pick([1, 1, 1.1], 10),
    },
  };
}

/** Names and shapes of a checkpoint's tensors, as Hugging Face writes them. */
export function tensorShapes(config: LlamaConfig): Map<string, readonly number[]> {
  const { hiddenSize, vocabSize, layers, tiedHead } = config;
  const shapes = new Map<string, readonly number[]>([["model.embed_tokens.weight", [vocabSize, hiddenSize]]]);
  for (let layer = 0; layer < layers; layer++) {
    shapes.set(`model.layers.${layer}.input_layernorm.weight`, [hiddenSize]);
    shapes.set(`model.layers.${layer}.post_attention_layernorm.weight`, [hiddenSize]);
    for (const norm of config.queryKeyNorm ? (["q_norm", "k_norm"] as const) : []) {
      shapes.set(headNormName(layer, norm), [config.headDim]);
    }
    for (const name of linearNames) {
      const [out, input] = linearShape(config, name);
      shapes.set(linearTensor(layer, name), [out, input]);
      if (hasBias(config, name)) shapes.set(`${linearPath(layer, name)}.bias`, [out]);
    }
  }
  shapes.set("model.norm.weight", [hiddenSize]);
  if (!tiedHead) shapes.set("lm_head.weight", [vocabSize, hiddenSize]);
  return shapes;
}

export function linearTensor(layer: number, name: LinearName): string {
  return `${linearPath(layer, name)}.weight`;
}

/**
 * Writes `dir`/random-<seed>-<dtype>.safetensors: embeddings of standard deviation 1, linears of 1 / sqrt(columns), norms
 * between 0.75 and 1.25, biases up to 5, so that every part of the network has a say in logits of standard deviation about 1.
 */
export async function writeRandomModel(
  dir: string,
  config: LlamaConfig,
  seed: number,
  dtype: WeightType,
): Promise<ModelWeights> {
  await mkdir(dir, { recursive: true });
  const file = join(dir, `random-${seed}-${dtype}.safetensors`);
  const header: Record<string, { dtype: WeightType; shape: readonly number[]; data_offsets: [number, number] }> = {};
  const data: Uint8Array[] = [];
  let end = 0;
  for (const [name, shape] of tensorShapes(config)) {
    const bytes = encode(tensorValues(name, shape, seed, data.length), dtype);
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.byteLength] };
    end += bytes.byteLength;
    data.push(bytes);
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  await pipeline([length, json, ...data], createWriteStream(file));

  const tensors = new Map<string, TensorSource>();
  for (const [name, { shape, data_offsets }] of Object.entries(header)) {
    tensors.set(name, { file, offset: 8 + json.length + data_offsets[0], dtype, shape });
  }
  return { config, tensors };
}

function tensorValues(name: string, shape: readonly number[], seed: number, stream: number): Float32Array {
  const elements = shape.reduce((a, b) => a * b, 1);
  // As large as Qwen2's are, beside products of standard deviation 1.
  if (name.endsWith(".bias")) return randomValues(elements, seed, stream, 5);
  if (shape.length === 1) return randomValues(elements, seed, stream, 0.25).map((value) => 1 + value);
  const deviation = name.startsWith("model.embed") ? 1 : 1 / Math.sqrt(shape[1]!);
  return randomValues(elements, seed, stream, Math.sqrt(3) * deviation);
}

/** Pairs on every linear in `names` of every layer; B is not zero, so that no gradient vanishes. */
export function randomAdapter(
  config: LlamaConfig,
  seed: number,
  names: readonly LinearName[] = linearNames,
  rank = 3,
  scale = 1.5,
): AdapterModule[] {
  return Array.from({ length: config.layers }, (_, layer) =>
    names.map((linear, i) => {
      const [out, input] = linearShape(config, linear);
      const stream = 1000 + (layer * 7 + i) * 2;
      const a = randomValues(rank * input, seed, stream, 1 / Math.sqrt(input));
      const b = randomValues(out * rank, seed, stream + 1, 0.3 / Math.sqrt(rank));
      return { layer, linear, rank, scale, a, b };
    }),
  ).flat();
}

/** Rows of the given lengths with random tokens; about one target in five is masked, the last of each row always. */
export function randomBatch(config: LlamaConfig, seed: number, lengths: readonly number[]): PackedBatch {
  const offsets = new Int32Array(lengths.length + 1);
  lengths.forEach((length, i) => {
    offsets[i + 1] = offsets[i]! + length;
  });
  const total = offsets.at(-1)!;
  const tokens = randomIntegers(total, config.vocabSize, seed, 2000);
  const masked = randomIntegers(total, 5, seed, 2001);
  const lasts = new Set(offsets.map((offset) => offset - 1));
  const targets = tokens.map((_, i) => (lasts.has(i) || masked[i] === 0 ? -100 : tokens[i + 1]!));
  return { tokens, targets, offsets };
}

function encode(values: Float32Array, dtype: WeightType): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer);
  const halves = Uint16Array.from(values, dtype === "F16" ? float16Bits : bfloat16Bits);
  return new Uint8Array(halves.buffer);
}

const scratch = new DataView(new ArrayBuffer(4));

/** Nearest, ties to even. */
function bfloat16Bits(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Nearest, ties to even; for finite values within float16's range. */
function float16Bits(value: number): number {
  const magnitude = Math.abs(value);
  const exponent = Math.max(Math.floor(Math.log2(magnitude || 2 ** -30)), -14);
  const steps = (magnitude * 2 ** 10) / 2 ** exponent;
  const below = Math.floor(steps);
  const rest = steps - below;
  const rounded = rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
  // A mantissa that overflows carries into the exponent field, as it should.
  const bits = (exponent + 14) * 1024 + rounded;
  return value < 0 || Object.is(value, -0) ? bits | 0x8000 : bits;
}
