import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isCodedError } from "../../../src/errors/index.ts";
import { readChatTemplate } from "../../../src/llama/checkpoint/chat-template.ts";
import { parseConfig, parseGenerationConfig } from "../../../src/llama/checkpoint/config.ts";
import { writeSafetensors } from "../../../src/llama/checkpoint/safetensors-writer.ts";
import { findWeights } from "../../../src/llama/checkpoint/weight-files.ts";
import { bounded, expectLinear, soup, valueOrCode } from "../../fuzzing.ts";

const folder = mkdtempSync(join(tmpdir(), "huggingface-fuzz-"));
afterAll(() => rmSync(folder, { recursive: true }));

const right = {
  ...{ model_type: "llama", hidden_size: 16, intermediate_size: 44, num_hidden_layers: 2, num_attention_heads: 4 },
  ...{ num_key_value_heads: 2, vocab_size: 20, rms_norm_eps: 1e-5, max_position_embeddings: 64 },
};
const names = [
  ...Object.keys(right),
  ...["architectures", "head_dim", "rope_theta", "rope_scaling", "rope_parameters", "sliding_window", "layer_types"],
  ...["use_sliding_window", "max_window_layers", "tie_word_embeddings", "hidden_act", "attention_bias", "mlp_bias"],
  ...["quantization_config", "bos_token_id", "eos_token_id", "_name_or_path", "max_sequence_length", "__proto__"],
];
const rope = fc.dictionary(
  fc.constantFrom("rope_type", "type", "factor", "low_freq_factor", "high_freq_factor", "rope_theta", "beta_fast"),
  fc.constantFrom("llama3", "linear", "dynamic", "yarn", "default", "longrope", 8, 1, 4, 0, -1, 1e300, null, true),
);
const value = fc.oneof(
  fc.constantFrom(16, 4, 2, 1, 0, -1, 0.5, 1e300, 5e-324, 2 ** 53, true, false, null, "16", [1, 2], [1.5], []),
  fc.constantFrom("llama", "mistral", "qwen2", "qwen3", "gpt2", "silu", ["LlamaForCausalLM"], ["sliding_attention"]),
  rope,
  fc.jsonValue(),
);
const changes = fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 4 });
const config = fc.oneof(
  { weight: 4, arbitrary: changes.map((list) => JSON.stringify({ ...right, ...list })) },
  fc.json(),
  soup([...'\ufeff{}[],:"-', "model_type", "llama", "1e999"]),
);

describe("whatever a config.json says, it", () => {
  it("has counts that can be used, or is refused with a code that names the file", async () => {
    const codes = ["CHECKPOINT_CONFIG", "CHECKPOINT_UNSUPPORTED"] as const;
    const property = fc.asyncProperty(config, async (text) => {
      const read = await valueOrCode(() => parseConfig(text, "config.json"), ...codes);
      if (isCodedError(read)) {
        expect(read.message).toMatch(/^config\.json/);
        expect(read.message.length).toBeLessThan(1000);
        return;
      }
      const { vocabSize, hiddenSize, intermediateSize, layers, heads, kvHeads, headDim } = read.config;
      for (const count of [vocabSize, hiddenSize, intermediateSize, layers, heads, kvHeads, headDim]) {
        expect(Number.isSafeInteger(count) && count > 0).toBe(true);
      }
      expect([heads % kvHeads, headDim % 2]).toEqual([0, 0]);
      for (const id of [...read.bosTokenIds, ...read.eosTokenIds])
        expect(Number.isSafeInteger(id) && id >= 0).toBe(true);
      expect(JSON.stringify(read.config.rope)).not.toMatch(/null/);
    });
    await fc.assert(property, bounded);
  });

  it.each([
    ["open brackets", (n: number) => `{"rope_scaling":${'{"a":'.repeat(n / 5)}`],
    ["fields", (n: number) => `{${Array.from({ length: n / 12 }, (_, i) => `"k${i}":1`)}}`],
    ["end ids", (n: number) => JSON.stringify({ ...right, eos_token_id: Array.from({ length: n / 2 }, () => 1) })],
    ["layer types", (n: number) => JSON.stringify({ ...right, layer_types: Array.from({ length: n / 4 }, () => "a") })],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    const codes = ["CHECKPOINT_CONFIG", "CHECKPOINT_UNSUPPORTED"] as const;
    await expectLinear(input, (text: string) => valueOrCode(() => parseConfig(text, "config.json"), ...codes), 2 ** 18);
  });
});

describe("whatever a generation_config.json says, it", () => {
  it("lists ids, or is refused with a code that names the file and the field", async () => {
    const ids = fc
      .dictionary(fc.constantFrom("bos_token_id", "eos_token_id", "__proto__"), value)
      .map((object) => JSON.stringify(object));
    const property = fc.asyncProperty(fc.oneof(ids, fc.json(), fc.string()), async (text) => {
      const read = await valueOrCode(() => parseGenerationConfig(text, "generation_config.json"), "CHECKPOINT_CONFIG");
      if (isCodedError(read)) {
        expect(read.message).toMatch(/^generation_config\.json/);
        return;
      }
      for (const id of [...read.bosTokenIds, ...read.eosTokenIds])
        expect(Number.isSafeInteger(id) && id >= 0).toBe(true);
    });
    await fc.assert(property, bounded);
  });
});

describe("whatever a tokenizer_config.json says of a chat template, it", () => {
  const text = fc.oneof(fc.constantFrom("{{ messages }}", ""), fc.jsonValue());
  const named = fc.array(
    fc.record({ name: fc.constantFrom("default", "tool_use", 1), template: text }, { requiredKeys: [] }),
  );
  const content = fc.dictionary(
    fc.constantFrom("chat_template", "bos_token", "eos_token", "pad_token", "__proto__"),
    fc.oneof(text, named, fc.record({ content: text })),
  );

  it("is a text and the texts of special tokens, or is refused with a code that names the file", async () => {
    const file = join(folder, "tokenizer_config.json");
    const json = content.map((object) => JSON.stringify(object));
    const property = fc.asyncProperty(
      fc.oneof({ weight: 4, arbitrary: json }, fc.json(), fc.string()),
      async (text) => {
        writeFileSync(file, text);
        const read = await valueOrCode(() => readChatTemplate([folder]), "TOKENIZER_CORRUPT");
        if (isCodedError(read)) {
          expect(read.message).toContain(file);
          return;
        }
        expect(["string", "object"]).toContain(typeof (read.chatTemplate ?? ""));
        for (const special of Object.values(read.templateTexts)) expect(typeof special).toBe("string");
      },
    );
    await fc.assert(property, { ...bounded, numRuns: 150 });
  });
});

describe("whatever an index of shards says, the weights", () => {
  const place = join(folder, "shards");
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  beforeAll(async () => {
    mkdirSync(place);
    for (const [i, shard] of shards.entries()) {
      await writeSafetensors(join(place, shard), [{ name: "ab"[i]!, shape: [2], data: new Float32Array(2) }]);
    }
  });

  it("are tensors of files in the folder, or are refused with a code", async () => {
    const shard = fc.oneof(
      fc.constantFrom(
        ...shards,
        "../model.safetensors",
        "/etc/passwd",
        "",
        ".",
        "a\0b",
        "model-00003-of-00002.safetensors",
      ),
      fc.jsonValue(),
    );
    const map = fc.dictionary(fc.constantFrom("a", "b", "c", "__proto__"), shard);
    const index = fc.record(
      { weight_map: fc.oneof({ weight: 4, arbitrary: map }, fc.jsonValue()) },
      { requiredKeys: [] },
    );
    const json = fc.oneof(
      { weight: 4, arbitrary: index.map((object) => JSON.stringify(object)) },
      fc.json(),
      fc.string(),
    );
    const property = fc.asyncProperty(json, async (text) => {
      writeFileSync(join(place, "model.safetensors.index.json"), text);
      const read = await valueOrCode(() => findWeights(place, 20), "CHECKPOINT_CORRUPT", "CHECKPOINT_NOT_FOUND");
      if (isCodedError(read)) return;
      for (const name of read.names) expect(shards.map((file) => join(place, file))).toContain(read.find(name)!.file);
    });
    await fc.assert(property, { ...bounded, numRuns: 150 });
  });
});
