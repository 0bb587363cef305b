import { describe, expect, it } from "vitest";
import { metaConfig } from "../../../../src/llama/checkpoint/meta/config.ts";
import { parseParams } from "../../../../src/llama/checkpoint/meta/params.ts";
import type { MetaShard } from "../../../../src/llama/checkpoint/meta/shards.ts";

interface Release {
  readonly params: object;
  readonly shards: number;
  readonly dtype: string;
  readonly vocabSize: number;
  readonly feedForward: number;
  /** Llama 3's shards have rows of the embedding. */
  readonly rows?: boolean;
}

/** config.json of a release, as the headers of its shards and its params.json give it. */
function configOf({ params, shards, dtype, vocabSize, feedForward, rows = false }: Release) {
  const parsed = parseParams(JSON.stringify(params), "params.json");
  const { dim, heads, headDim } = parsed;
  const entry = (shape: number[], offset: number) => ({ file: "", offset, bytes: 0, dtype, shape, strides: null });
  const tensors = new Map([
    ["tok_embeddings.weight", entry(rows ? [vocabSize / shards, dim] : [vocabSize, dim / shards], 0)],
    ["output.weight", entry([vocabSize / shards, dim], 1)],
    ["layers.0.feed_forward.w1.weight", entry([feedForward / shards, dim], 2)],
    ["layers.0.attention.wo.weight", entry([dim, (heads * headDim) / shards], 3)],
  ]);
  const shard: MetaShard = { file: "consolidated.00.pth", tensors };
  return metaConfig(
    parsed,
    Array.from({ length: shards }, () => shard),
  );
}

const llama1 = { multiple_of: 256, norm_eps: 1e-6, vocab_size: -1 };
const llama3 = { norm_eps: 1e-5, vocab_size: 128_256, rope_theta: 500_000, n_kv_heads: 8 };

/** Sizes as the releases' own config.json on Hugging Face have them. */
const releases: [name: string, release: Release, expected: object][] = [
  [
    "LLaMA 7B",
    {
      params: { dim: 4096, n_heads: 32, n_layers: 32, ...llama1 },
      ...{ shards: 1, dtype: "F16", vocabSize: 32_000, feedForward: 11_008 },
    },
    {
      hidden_size: 4096,
      intermediate_size: 11_008,
      num_key_value_heads: 32,
      max_position_embeddings: 2048,
      rope_theta: 1e4,
    },
  ],
  [
    "Llama 2 70B",
    {
      params: {
        ...{ dim: 8192, multiple_of: 4096, ffn_dim_multiplier: 1.3, n_heads: 64, n_kv_heads: 8, n_layers: 80 },
        ...{ norm_eps: 1e-5, vocab_size: -1 },
      },
      ...{ shards: 8, dtype: "BF16", vocabSize: 32_000, feedForward: 28_672 },
    },
    {
      vocab_size: 32_000,
      intermediate_size: 28_672,
      num_key_value_heads: 8,
      max_position_embeddings: 4096,
      bos_token_id: 1,
    },
  ],
  [
    "Code Llama 7B",
    {
      params: { dim: 4096, n_heads: 32, n_layers: 32, ...llama1, norm_eps: 1e-5, rope_theta: 1_000_000 },
      ...{ shards: 1, dtype: "BF16", vocabSize: 32_016, feedForward: 11_008 },
    },
    { vocab_size: 32_016, max_position_embeddings: 16_384, rope_theta: 1e6 },
  ],
  [
    "Llama 3 70B, without its theta",
    {
      params: {
        ...llama3,
        dim: 8192,
        n_layers: 80,
        n_heads: 64,
        multiple_of: 4096,
        ffn_dim_multiplier: 1.3,
        rope_theta: null,
      },
      ...{ shards: 8, dtype: "BF16", vocabSize: 128_256, feedForward: 28_672, rows: true },
    },
    { vocab_size: 128_256, max_position_embeddings: 8192, rope_theta: 5e5, rope_scaling: null, eos_token_id: 128_001 },
  ],
  [
    "Llama 3.1 8B, in an object of its own",
    {
      params: {
        model: {
          ...{ ...llama3, dim: 4096, n_layers: 32, n_heads: 32, multiple_of: 1024, ffn_dim_multiplier: 1.3 },
          use_scaled_rope: true,
        },
      },
      ...{ shards: 1, dtype: "BF16", vocabSize: 128_256, feedForward: 14_336 },
    },
    {
      max_position_embeddings: 131_072,
      rope_scaling: {
        ...{ rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
        original_max_position_embeddings: 8192,
      },
    },
  ],
  [
    "Llama 3.2 1B",
    {
      params: {
        ...{ ...llama3, dim: 2048, n_layers: 16, n_heads: 32, multiple_of: 256, ffn_dim_multiplier: 1.5 },
        use_scaled_rope: true,
      },
      ...{ shards: 1, dtype: "BF16", vocabSize: 128_256, feedForward: 8192 },
    },
    { head_dim: 64, rope_scaling: expect.objectContaining({ factor: 32 }), bos_token_id: 128_000 },
  ],
  [
    "Mistral 7B 0.3",
    {
      params: {
        ...{ dim: 4096, n_layers: 32, head_dim: 128, hidden_dim: 14_336, n_heads: 32, n_kv_heads: 8, norm_eps: 1e-5 },
        ...{ vocab_size: 32_768, rope_theta: 1e6 },
      },
      ...{ shards: 1, dtype: "BF16", vocabSize: 32_768, feedForward: 14_336 },
    },
    { model_type: "llama", max_position_embeddings: 32_768, rope_theta: 1e6, head_dim: 128 },
  ],
];

describe("config.json of a release", () => {
  it.each(releases)("%s", (_, release, expected) => {
    const { configJson, warnings } = configOf(release);
    expect(configJson).toMatchObject(expected);
    expect(configJson.tie_word_embeddings).toBe(false);
    expect(warnings).toEqual([]);
  });
});
