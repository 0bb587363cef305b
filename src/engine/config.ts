/** Shape of a LLaMA-family decoder, independent of any file format. Sizes are counts of elements. */
export interface LlamaConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rmsNormEps: number;
  /** Positions the model was trained on; no sequence may be longer. */
  readonly maxPositionEmbeddings: number;
  /** Mistral's window: token i attends to j with i - j < slidingWindow. null: all earlier tokens. */
  readonly slidingWindow: number | null;
  /** The head is the embedding matrix. */
  readonly tiedHead: boolean;
  /** q_proj, k_proj and v_proj have biases (Qwen2). */
  readonly attentionBias: boolean;
  /** Each head of q and k goes through an RMSNorm before the rotary embedding (Qwen3). */
  readonly queryKeyNorm: boolean;
  readonly rope: Rope;
}

/** Rotary embedding in Hugging Face's rotate-half form: pair (i, i + headDim/2) turns by position * inverseFrequencies[i]. */
export interface Rope {
  /** [headDim / 2], float32, every scaling already applied. */
  readonly inverseFrequencies: Float32Array;
  /** Factor on cos and sin (yarn); 1 otherwise. */
  readonly attentionScaling: number;
}

/** The linear layers an adapter can sit on, by their Hugging Face names. */
export const linearNames = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] as const;
export type LinearName = (typeof linearNames)[number];

/** Whether a linear has a bias, the tensor of linearPath() that ends in ".bias". */
export function hasBias(config: LlamaConfig, name: LinearName): boolean {
  return config.attentionBias && (name === "q_proj" || name === "k_proj" || name === "v_proj");
}

/** Tensor of the RMSNorm of a layer's query or key heads, [headDim]. */
export function headNormName(layer: number, norm: "q_norm" | "k_norm"): string {
  return `model.layers.${layer}.self_attn.${norm}.weight`;
}

/** Path of a layer's linear in Hugging Face's names, "model.layers.0.self_attn.q_proj"; its tensor ends in ".weight". */
export function linearPath(layer: number, name: LinearName): string {
  const block = name === "gate_proj" || name === "up_proj" || name === "down_proj" ? "mlp" : "self_attn";
  return `model.layers.${layer}.${block}.${name}`;
}

/** [rows (out), columns (in)] of a layer's linear. */
export function linearShape(config: LlamaConfig, name: LinearName): readonly [out: number, input: number] {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim } = config;
  switch (name) {
    case "q_proj":
      return [heads * headDim, hiddenSize];
    case "k_proj":
    case "v_proj":
      return [kvHeads * headDim, hiddenSize];
    case "o_proj":
      return [hiddenSize, heads * headDim];
    case "gate_proj":
    case "up_proj":
      return [intermediateSize, hiddenSize];
    case "down_proj":
      return [hiddenSize, intermediateSize];
  }
}
