import { describe, expect, it } from "vitest";
import { parseConfig } from "../../../src/llama/checkpoint/config.ts";
import { parameters } from "../../../src/llama/checkpoint/describe.ts";
import { expectedTensors } from "../../../src/llama/checkpoint/tensors.ts";

const shape = {
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  vocab_size: 32000,
};
const parse = (changes: object) => parseConfig(JSON.stringify({ ...shape, ...changes }), "folder/config.json");

describe("families of decoders", () => {
  const qwen = (type: 2 | 3, changes: object = {}) =>
    parse({ model_type: `qwen${type}`, architectures: [`Qwen${type}ForCausalLM`], ...changes }).config;

  it("knows what Qwen2 and Qwen3 have, and their defaults", () => {
    const shared = { kvHeads: 32, headDim: 128, rmsNormEps: 1e-6, maxPositionEmbeddings: 32768, slidingWindow: null };
    expect(qwen(2)).toMatchObject({ ...shared, attentionBias: true, queryKeyNorm: false });
    expect(qwen(3)).toMatchObject({ ...shared, attentionBias: false, queryKeyNorm: true });
    // Qwen3's heads have a size of their own, Qwen2's are the hidden size's share.
    expect(qwen(2, { hidden_size: 2048 }).headDim).toBe(64);
    expect(qwen(3, { hidden_size: 2048 }).headDim).toBe(128);
    expect(qwen(3, { hidden_size: 1024, num_attention_heads: 24, num_key_value_heads: 8, head_dim: 64 })).toMatchObject(
      {
        headDim: 64,
        heads: 24,
      },
    );
    expect(parse({}).config).toMatchObject({ attentionBias: false, queryKeyNorm: false });
  });

  it("takes the family from the architecture where model_type is left out", () => {
    const given = { model_type: undefined, architectures: ["Qwen3ForCausalLM"] };
    expect(parse(given).config.queryKeyNorm).toBe(true);
  });

  it("reads Qwen's window where it is asked for, on all layers", () => {
    expect(qwen(2, { sliding_window: 4096, max_window_layers: 0 }).slidingWindow).toBeNull();
    const asked = { use_sliding_window: true, sliding_window: 512 };
    expect(qwen(2, { ...asked, max_window_layers: 0 }).slidingWindow).toBe(512);
    expect(qwen(2, { ...asked, max_window_layers: 32 }).slidingWindow).toBeNull();
    expect(qwen(3, { ...asked, layer_types: Array(32).fill("sliding_attention") }).slidingWindow).toBe(512);
    expect(qwen(3, { ...asked, layer_types: Array(32).fill("full_attention") }).slidingWindow).toBeNull();
    expect(qwen(3, { use_sliding_window: true, max_window_layers: 0 }).slidingWindow).toBe(4096);
    expect(qwen(3, { use_sliding_window: true, sliding_window: null }).slidingWindow).toBeNull();
  });

  it.each([
    [{ use_sliding_window: true }, '"max_window_layers": a window on 4 of 32 layers'],
    [{ use_sliding_window: true, max_window_layers: 31 }, '"max_window_layers": a window on 1 of 32 layers'],
    [{ layer_types: Array(32).fill("sliding_attention") }, '"layer_types": a window on 32 of 32'],
    [{ layer_types: Array(32).fill("linear_attention") }, '"layer_types": "linear_attention"'],
    [{ attention_bias: true }, '"attention_bias": a bias on o_proj'],
    [{ architectures: ["Qwen3MoeForCausalLM"] }, "qwen3moeforcausallm"],
    [{ model_type: "qwen3_moe" }, '"qwen3_moe" are not supported, only "llama", "mistral", "qwen2", "qwen3"'],
  ])("refuses what of Qwen the engines do not have: %j", (changes, text) => {
    expect(() => qwen(3, changes)).toThrow(
      expect.objectContaining({ code: "CHECKPOINT_UNSUPPORTED", message: expect.stringContaining(text) }),
    );
  });

  it.each([
    [{ num_attention_heads: 16 }, '"num_key_value_heads" is missing; a whole number from 1 to 16'],
    [{ layer_types: ["full_attention"] }, '"layer_types" is ["full_attention"]; a list of 32'],
    [{ max_window_layers: -1 }, '"max_window_layers" is -1; a whole number'],
    [{ use_sliding_window: "no" }, '"use_sliding_window" is "no"'],
  ])("refuses the impossible of Qwen: %j", (changes, text) => {
    expect(() => qwen(3, changes)).toThrow(
      expect.objectContaining({ code: "CHECKPOINT_CONFIG", message: expect.stringContaining(text) }),
    );
  });

  // The shapes of the published models; the counts are num_parameters() of transformers 5.24.
  it.each([
    [
      "Qwen2.5-0.5B",
      494_032_768,
      {
        model_type: "qwen2",
        hidden_size: 896,
        intermediate_size: 4864,
        num_hidden_layers: 24,
        num_attention_heads: 14,
      },
      { num_key_value_heads: 2, vocab_size: 151936, tie_word_embeddings: true },
    ],
    [
      "Qwen3-0.6B",
      596_049_920,
      {
        model_type: "qwen3",
        hidden_size: 1024,
        intermediate_size: 3072,
        num_hidden_layers: 28,
        num_attention_heads: 16,
      },
      { num_key_value_heads: 8, head_dim: 128, vocab_size: 151936, tie_word_embeddings: true },
    ],
  ])("counts the parameters of %s", (_, count, sizes, more) => {
    expect(parameters(parse({ ...sizes, ...more }).config)).toBe(count);
  });

  it("asks for the biases of q, k and v, or the norms of their heads", () => {
    const names = (type: string) =>
      [...expectedTensors(parse({ model_type: type, num_key_value_heads: 8 }).config)]
        .filter(([name]) => name.startsWith("model.layers.3.self_attn") && !name.endsWith("proj.weight"))
        .map(([name, size]) => `${name.slice("model.layers.3.self_attn.".length)} [${size}]`);
    expect(names("llama")).toEqual([]);
    expect(names("qwen2")).toEqual(["q_proj.bias [4096]", "k_proj.bias [1024]", "v_proj.bias [1024]"]);
    expect(names("qwen3")).toEqual(["q_norm.weight [128]", "k_norm.weight [128]"]);
  });
});
