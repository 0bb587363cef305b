import { describe, expect, it } from "vitest";
import { parseConfig, parseGenerationConfig } from "../../../src/llama/checkpoint/config.ts";

const llama = {
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  vocab_size: 32000,
};

const parse = (changes: object) => parseConfig(JSON.stringify({ ...llama, ...changes }), "folder/config.json");
const inverse = (changes: object) => parse(changes).config.rope.inverseFrequencies;

describe("config.json", () => {
  it("takes transformers' defaults for what is left out", () => {
    expect(parse({}).config).toMatchObject({
      kvHeads: 32,
      headDim: 128,
      rmsNormEps: 1e-6,
      maxPositionEmbeddings: 2048,
      slidingWindow: null,
      tiedHead: false,
      rope: { attentionScaling: 1 },
    });
  });

  it("reads the first conversions of LLaMA", () => {
    const found = parse({
      architectures: ["LLaMAForCausalLM"],
      max_sequence_length: 1024,
      bos_token_id: 0,
      eos_token_id: 1,
      pad_token_id: -1,
    });
    expect(found.config.maxPositionEmbeddings).toBe(1024);
    expect(found.eosTokenIds).toEqual([1]);
  });

  it("reads Mistral's window and defaults", () => {
    const mistral = { model_type: "mistral", architectures: ["MistralForCausalLM"] };
    expect(parse(mistral).config).toMatchObject({ slidingWindow: 4096, kvHeads: 8, maxPositionEmbeddings: 131072 });
    expect(parse({ ...mistral, sliding_window: null }).config.slidingWindow).toBeNull();
    expect(parse({ sliding_window: 16 }).config.slidingWindow).toBeNull();
  });

  it("reads one or several ids that end a text", () => {
    expect(parse({ eos_token_id: [128001, 128009] }).eosTokenIds).toEqual([128001, 128009]);
    expect(parseGenerationConfig('{"eos_token_id": 2}', "generation_config.json").eosTokenIds).toEqual([2]);
    expect(parseGenerationConfig("{}", "generation_config.json").eosTokenIds).toEqual([]);
  });

  it.each([
    [{ hidden_size: undefined }, '"hidden_size" is missing'],
    [{ num_hidden_layers: 0 }, '"num_hidden_layers" is 0'],
    [{ num_hidden_layers: 1e9 }, '"num_hidden_layers" is 1000000000'],
    [{ vocab_size: "32000" }, '"vocab_size" is "32000"'],
    [{ num_key_value_heads: 5 }, '"num_key_value_heads" is 5; a divisor'],
    [{ num_key_value_heads: 64 }, '"num_key_value_heads" is 64'],
    [{ num_attention_heads: 3 }, '"hidden_size" is 4096; a multiple'],
    [{ head_dim: 33 }, '"head_dim" is 33; an even'],
    [{ rms_norm_eps: -1 }, '"rms_norm_eps" is -1'],
    [{ tie_word_embeddings: "no" }, '"tie_word_embeddings" is "no"'],
    [{ rope_theta: 0 }, '"rope_theta" is 0'],
    [{ rope_scaling: { type: "linear" } }, '"rope_scaling.factor" is missing'],
    [{ rope_scaling: 2 }, '"rope_scaling" is 2; an object'],
    [{ eos_token_id: "2" }, '"eos_token_id" is "2"'],
  ])("refuses the impossible: %j", (changes, text) => {
    expect(() => parse(changes)).toThrow(
      expect.objectContaining({
        code: "CHECKPOINT_CONFIG",
        message: expect.stringContaining(`folder/config.json: ${text}`),
      }),
    );
  });

  it.each([
    [{ model_type: "gpt2" }, '"gpt2"'],
    [{ architectures: ["Qwen2ForCausalLM"] }, "qwen2forcausallm"],
    [{ hidden_act: "gelu" }, '"gelu"'],
    [{ attention_bias: true }, "attention_bias"],
    [{ mlp_bias: true }, "mlp_bias"],
    [{ quantization_config: { quant_method: "gptq" } }, '"gptq"'],
    [{ rope_scaling: { rope_type: "longrope", factor: 2 } }, '"longrope"'],
    [{ rope_parameters: { rope_type: "mystery" } }, '"mystery"'],
    [{ partial_rotary_factor: 0.5 }, "partial_rotary_factor"],
  ])("refuses by name what the engine does not have: %j", (changes, text) => {
    expect(() => parse(changes)).toThrow(
      expect.objectContaining({ code: "CHECKPOINT_UNSUPPORTED", message: expect.stringContaining(text) }),
    );
  });

  it("refuses what is no JSON object", () => {
    expect(() => parseConfig("{", "config.json")).toThrow("not valid JSON");
    expect(() => parseConfig("[]", "config.json")).toThrow("no JSON object");
  });
});

// Computed with transformers 5.23. Tolerance: a few units in the last place of float32, because the steps round in
// another order, and the eight digits given here.
const tolerance = 5e-7;

function expectClose(found: ArrayLike<number>, expected: Record<number, number>): void {
  for (const [i, value] of Object.entries(expected)) {
    expect(Math.abs(found[Number(i)]! / value - 1), `index ${i}: ${found[Number(i)]}`).toBeLessThan(tolerance);
  }
}

describe("rotary frequencies", () => {
  const llama3 = { low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };

  it("are theta^(-2i/d)", () => {
    expectClose(inverse({}), { 0: 1, 1: 10000 ** (-2 / 128), 63: 10000 ** (-126 / 128) });
  });

  it("are divided by the factor of linear scaling, under its old and its new name", () => {
    const plain = inverse({});
    expectClose(inverse({ rope_scaling: { type: "linear", factor: 4 } }), { 0: plain[0]! / 4, 63: plain[63]! / 4 });
    expectClose(inverse({ rope_scaling: { rope_type: "linear", factor: 4 } }), { 9: plain[9]! / 4 });
  });

  it("are those of LLaMA 3.1 and 3.2", () => {
    const large = { rope_theta: 500000, rope_scaling: { rope_type: "llama3", factor: 8, ...llama3 } };
    expectClose(inverse(large), {
      1: 0.81461722,
      28: 0.0032114461,
      29: 0.0021665706,
      34: 0.00017850779,
      63: 3.0689259e-7,
    });
    const small = { rope_theta: 500000, head_dim: 64, rope_scaling: { rope_type: "llama3", factor: 32, ...llama3 } };
    expectClose(inverse(small), { 15: 0.001290548, 16: 0.00042955671, 17: 9.7082862e-5, 31: 9.4183065e-8 });
  });

  it("are found in rope_parameters too, theta included", () => {
    const rope_parameters = { rope_type: "llama3", rope_theta: 500000, factor: 8, ...llama3 };
    expect(inverse({ rope_parameters })).toEqual(
      inverse({ rope_theta: 500000, rope_scaling: { rope_type: "llama3", factor: 8, ...llama3 } }),
    );
  });

  it("are not changed by dynamic scaling within the trained positions", () => {
    expect(inverse({ rope_scaling: { type: "dynamic", factor: 2 } })).toEqual(inverse({}));
  });

  it("are ramped from kept to divided by YaRN, with its factor on cos and sin", () => {
    const scaling = { rope_type: "yarn", factor: 16, original_max_position_embeddings: 4096 };
    const { rope } = parse({ max_position_embeddings: 65536, rope_scaling: scaling }).config;
    expectClose(rope.inverseFrequencies, { 1: 0.86596435, 20: 0.056234129, 25: 0.022447141, 31: 0.0069675543 });
    expect(rope.attentionScaling).toBeCloseTo(1.2772588722239782, 12);
  });

  it("follow every option of YaRN", () => {
    const scaling = {
      ...{ rope_type: "yarn", factor: 4, original_max_position_embeddings: 2048, beta_fast: 16, beta_slow: 2 },
      ...{ truncate: false, mscale: 0.7, mscale_all_dim: 0.3 },
    };
    const { rope } = parse({ head_dim: 80, rope_theta: 500000, rope_scaling: scaling }).config;
    expectClose(rope.inverseFrequencies, { 10: 0.033992205, 15: 0.0022774367, 20: 0.00035355336, 31: 9.5771966e-6 });
    expect(rope.attentionScaling).toBeCloseTo(1.0532376815143234, 12);
    const given = parse({ rope_scaling: { ...scaling, attention_factor: 1.25 } });
    expect(given.config.rope.attentionScaling).toBe(1.25);
  });
});
