import { type LlamaConfig, linearPath } from "../../../engine/config.ts";

/** Hugging Face's names of what lies outside the layers. */
const outer = new Map([
  ["token_embd.weight", "model.embed_tokens.weight"],
  ["output_norm.weight", "model.norm.weight"],
  ["output.weight", "lm_head.weight"],
]);

/** Of a layer: its part of Hugging Face's name, after "model.layers.N.". */
const inLayer = new Map([
  ["attn_norm", "input_layernorm"],
  ["ffn_norm", "post_attention_layernorm"],
  ["attn_q", within("q_proj")],
  ["attn_k", within("k_proj")],
  ["attn_v", within("v_proj")],
  ["attn_output", within("o_proj")],
  ["attn_q_norm", "self_attn.q_norm"],
  ["attn_k_norm", "self_attn.k_norm"],
  ["ffn_gate", within("gate_proj")],
  ["ffn_up", within("up_proj")],
  ["ffn_down", within("down_proj")],
]);

function within(linear: Parameters<typeof linearPath>[1]): string {
  return linearPath(0, linear).replace("model.layers.0.", "");
}

/** Hugging Face's name of a tensor that GGUF calls "blk.0.attn_q.weight"; a name that is not known stays as it is. */
export function huggingFaceName(name: string): string {
  const known = outer.get(name);
  if (known !== undefined) return known;
  const [, layer, part, kind] = /^blk\.(\d{1,4})\.(\w+)\.(weight|bias)$/.exec(name) ?? [];
  const path = part === undefined ? undefined : inLayer.get(part);
  return path === undefined ? name : `model.layers.${Number(layer)}.${path}.${kind}`;
}

const [ggufOuter, ggufInLayer] = [outer, inLayer].map(
  (names) => new Map([...names].map(([gguf, other]) => [other, gguf])),
);

/** GGUF's name of a tensor that Hugging Face calls "model.layers.0.self_attn.q_proj.weight"; null where it has none. */
export function ggufName(name: string): string | null {
  const known = ggufOuter!.get(name);
  if (known !== undefined) return known;
  const [, layer, path, kind] = /^model\.layers\.(\d{1,4})\.([\w.]+)\.(weight|bias)$/.exec(name) ?? [];
  const part = path === undefined ? undefined : ggufInLayer!.get(path);
  return part === undefined ? null : `blk.${Number(layer)}.${part}.${kind}`;
}

/** Architectures for which llama.cpp turns neighbouring rows of queries and keys together, as Meta does. */
const pairsTogether: ReadonlySet<string> = new Set(["llama", "mistral"]);

/** Heads whose rows GGUF has in Meta's order: those of a tensor of queries or keys; undefined for all else. */
export function interleavedHeads(
  name: string,
  architecture: string,
  { heads, kvHeads }: Pick<LlamaConfig, "heads" | "kvHeads">,
): number | undefined {
  const projection = pairsTogether.has(architecture) ? projectionOf(name) : null;
  if (projection === null) return undefined;
  return projection === "q" ? heads : kvHeads;
}

/** Whether a tensor's rows are a query's or a key's projection. */
function projectionOf(name: string): "q" | "k" | null {
  const [, which] = /^blk\.\d+\.attn_([qk])\.(?:weight|bias)$/.exec(name) ?? [];
  return (which as "q" | "k" | undefined) ?? null;
}
