import { type LinearName, linearNames, linearPath } from "../../../engine/config.ts";
import { embeddingName } from "../tensors.ts";

/** How the parts of a tensor in the shards make the whole: one after another along a dimension, or each is the whole. */
export type Axis = 0 | 1 | null;

export interface MetaName {
  readonly meta: string;
  readonly axis: Axis;
  /** Rows in pairs (2i, 2i + 1) within each head: those of the query's or of the key's heads. */
  readonly interleaved: "heads" | "kvHeads" | null;
}

const linears: Readonly<Record<LinearName, Omit<MetaName, "meta"> & { readonly path: string }>> = {
  q_proj: { path: "attention.wq", axis: 0, interleaved: "heads" },
  k_proj: { path: "attention.wk", axis: 0, interleaved: "kvHeads" },
  v_proj: { path: "attention.wv", axis: 0, interleaved: null },
  o_proj: { path: "attention.wo", axis: 1, interleaved: null },
  gate_proj: { path: "feed_forward.w1", axis: 0, interleaved: null },
  up_proj: { path: "feed_forward.w3", axis: 0, interleaved: null },
  down_proj: { path: "feed_forward.w2", axis: 1, interleaved: null },
};

export const metaEmbedding = "tok_embeddings.weight";
export const metaHead = "output.weight";

/**
 * Meta's names by Hugging Face's.
 * @param embeddingAxis 1 where each shard has some columns of the embedding (LLaMA 1, 2), 0 where it has rows (Llama 3)
 */
export function metaNames(layers: number, embeddingAxis: 0 | 1): ReadonlyMap<string, MetaName> {
  const whole = (meta: string, axis: Axis): MetaName => ({ meta, axis, interleaved: null });
  const names = new Map<string, MetaName>([
    [embeddingName, whole(metaEmbedding, embeddingAxis)],
    ["model.norm.weight", whole("norm.weight", null)],
    ["lm_head.weight", whole(metaHead, 0)],
  ]);
  for (let layer = 0; layer < layers; layer++) {
    names.set(`model.layers.${layer}.input_layernorm.weight`, whole(`layers.${layer}.attention_norm.weight`, null));
    names.set(`model.layers.${layer}.post_attention_layernorm.weight`, whole(`layers.${layer}.ffn_norm.weight`, null));
    for (const linear of linearNames) {
      const { path, axis, interleaved } = linears[linear];
      names.set(`${linearPath(layer, linear)}.weight`, { meta: `layers.${layer}.${path}.weight`, axis, interleaved });
    }
  }
  return names;
}

/** Computed from params.json, and left out. */
export function isFrequencies(meta: string): boolean {
  return meta === "rope.freqs" || /^layers\.\d+\.attention\.inner_attention\.rope\.freqs$/.test(meta);
}
