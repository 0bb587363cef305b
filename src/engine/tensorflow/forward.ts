import type { Tensor, Tensor1D, Tensor2D } from "@tensorflow/tfjs-core";
import type { LinearName, LlamaConfig } from "../config.ts";
import type { TensorFlow } from "./backend.ts";

/** Where the tokens of a pass stand: `rows` rows of `length` tokens each, one after another. */
export interface Layout {
  readonly rows: number;
  readonly length: number;
  /** [length, head_dim / 2] each, or [rows * length, head_dim / 2] when rows is 1 and rows are packed. */
  readonly cos: Tensor2D;
  readonly sin: Tensor2D;
  /** [length, keys], 0 where a query may look and -1e9 where not. Without a cache the keys are the row itself. */
  readonly mask: Tensor2D;
}

/** Keys and values of the tokens before a pass. Takes the pass's own, [1, kv_heads, length, head_dim]; returns all. */
export type ExtendCache = (layer: number, k: Tensor, v: Tensor) => { k: Tensor; v: Tensor };

/** What differs between serving, LoRA training and training from scratch. */
export interface Parameters {
  embedding(): Tensor2D;
  /**
   * RMSNorm weights: "input_layernorm", "post_attention_layernorm" and, of the heads of q and k, "self_attn.q_norm" and
   * "self_attn.k_norm" of a layer; "norm" of the model (layer -1).
   */
  norm(layer: number, name: string): Tensor1D;
  /** x [tokens, in] -> [tokens, out], the bias included. */
  linear(layer: number, name: LinearName, x: Tensor2D): Tensor2D;
}

/**
 * Additive causal mask: token i of a document sees j <= i with i - j < window of the same document. `past` tokens of a
 * single document lie in a cache. [tokens, past + tokens]
 */
export function causalMask(tf: TensorFlow, documents: readonly number[], window: number | null, past = 0): Tensor2D {
  const tokens = documents.reduce((a, b) => a + b, 0);
  const keys = past + tokens;
  const values = new Float32Array(tokens * keys).fill(-1e9);
  let start = 0;
  let i = 0;
  for (const length of documents) {
    for (const end = i + length; i < end; i++) {
      const own = past + i;
      const first = Math.max(start, window === null ? 0 : own - window + 1);
      values.fill(0, i * keys + first, i * keys + own + 1);
    }
    start = past + i;
  }
  return tf.tensor2d(values, [tokens, keys]);
}

/** cos and sin of position * inverse frequency, [positions, head_dim / 2]; angles in float32 as Hugging Face computes them. */
export function rotations(
  tf: TensorFlow,
  config: LlamaConfig,
  positions: ArrayLike<number>,
): { cos: Tensor2D; sin: Tensor2D } {
  const half = config.headDim / 2;
  const { inverseFrequencies, attentionScaling } = config.rope;
  const cos = new Float32Array(positions.length * half);
  const sin = new Float32Array(positions.length * half);
  for (let p = 0; p < positions.length; p++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(positions[p]! * inverseFrequencies[i]!);
      cos[p * half + i] = Math.cos(angle) * attentionScaling;
      sin[p * half + i] = Math.sin(angle) * attentionScaling;
    }
  }
  return { cos: tf.tensor2d(cos, [positions.length, half]), sin: tf.tensor2d(sin, [positions.length, half]) };
}

/** x / sqrt(mean(x²) + eps) * w over the last axis (Zhang and Sennrich 2019). */
export function rmsNorm<T extends Tensor>(tf: TensorFlow, x: T, weight: Tensor1D, epsilon: number): T {
  const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon));
  return tf.mul(tf.mul(x, inverse), weight);
}

/** Rotate-half rotary embedding. x [rows, length, heads, head_dim]; cos, sin [length, head_dim / 2] */
export function rotate(tf: TensorFlow, x: Tensor, cos: Tensor2D, sin: Tensor2D): Tensor {
  const [length, half] = cos.shape;
  const c = tf.reshape(cos, [1, length, 1, half]);
  const s = tf.reshape(sin, [1, length, 1, half]);
  const [first, second] = tf.split(x, 2, -1) as [Tensor, Tensor];
  return tf.concat([tf.sub(tf.mul(first, c), tf.mul(second, s)), tf.add(tf.mul(second, c), tf.mul(first, s))], -1);
}

/** Hidden states after the last norm, [rows * length, hidden]. ids: [rows * length] */
export function hiddenStates(
  tf: TensorFlow,
  config: LlamaConfig,
  parameters: Parameters,
  ids: Tensor1D,
  layout: Layout,
  extendCache?: ExtendCache,
): Tensor2D {
  const { layers, rmsNormEps } = config;
  let h = tf.gather(parameters.embedding(), ids) as Tensor2D;
  for (let layer = 0; layer < layers; layer++) {
    const a = rmsNorm(tf, h, parameters.norm(layer, "input_layernorm"), rmsNormEps);
    h = tf.add(h, parameters.linear(layer, "o_proj", attention(tf, config, parameters, layer, a, layout, extendCache)));
    const m = rmsNorm(tf, h, parameters.norm(layer, "post_attention_layernorm"), rmsNormEps);
    const gate = parameters.linear(layer, "gate_proj", m);
    const up = parameters.linear(layer, "up_proj", m);
    h = tf.add(h, parameters.linear(layer, "down_proj", tf.mul(tf.mul(gate, tf.sigmoid(gate)), up)));
  }
  return rmsNorm(tf, h, parameters.norm(-1, "norm"), rmsNormEps);
}

/** Grouped-query attention of one layer, [rows * length, heads * head_dim]. a: the normed input */
function attention(
  tf: TensorFlow,
  config: LlamaConfig,
  parameters: Parameters,
  layer: number,
  a: Tensor2D,
  layout: Layout,
  extendCache: ExtendCache | undefined,
): Tensor2D {
  const { heads, kvHeads, headDim, queryKeyNorm, rmsNormEps } = config;
  const { rows, length, cos, sin, mask } = layout;
  const group = heads / kvHeads;
  const split = (name: LinearName, count: number): Tensor =>
    tf.reshape(parameters.linear(layer, name, a), [rows, length, count, headDim]);
  const turned = (which: "q" | "k", count: number): Tensor => {
    const x = split(`${which}_proj`, count);
    if (!queryKeyNorm) return rotate(tf, x, cos, sin);
    return rotate(tf, rmsNorm(tf, x, parameters.norm(layer, `self_attn.${which}_norm`), rmsNormEps), cos, sin);
  };
  const byHead = (x: Tensor): Tensor => tf.transpose(x, [0, 2, 1, 3]);
  // Query heads that share a key head are stacked along the length: one product per key head, no copies of k and v.
  const q = tf.reshape(byHead(turned("q", heads)), [rows * kvHeads, group * length, headDim]);
  const fresh = { k: byHead(turned("k", kvHeads)), v: byHead(split("v_proj", kvHeads)) };
  const past = extendCache ? extendCache(layer, fresh.k, fresh.v) : fresh;
  const keys = mask.shape[1];
  const k = tf.reshape(past.k, [rows * kvHeads, keys, headDim]);
  const v = tf.reshape(past.v, [rows * kvHeads, keys, headDim]);
  const products = tf.mul(tf.matMul(q, k, false, true), headDim ** -0.5);
  const scores = tf.add(tf.reshape(products, [rows * kvHeads, group, length, keys]), mask);
  const weights = tf.reshape(tf.softmax(scores), [rows * kvHeads, group * length, keys]);
  const o = tf.reshape(tf.matMul(weights, v), [rows, heads, length, headDim]);
  return tf.reshape(byHead(o), [rows * length, heads * headDim]) as Tensor2D;
}

/** Sum of cross-entropies (nats), a scalar. hidden [n, D], head [V, D], targets [n] >= 0 */
export function crossEntropySum(tf: TensorFlow, hidden: Tensor2D, head: Tensor2D, targets: Tensor1D): Tensor {
  const logProbabilities = tf.logSoftmax(tf.matMul(hidden, head, false, true));
  const chosen = tf.mul(logProbabilities, tf.oneHot(targets, head.shape[0]));
  return tf.neg(tf.sum(chosen));
}
