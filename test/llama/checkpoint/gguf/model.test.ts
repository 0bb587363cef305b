import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openGguf } from "../../../../src/llama/checkpoint/gguf/open.ts";
import { collectTensors } from "../../../../src/llama/checkpoint/tensors.ts";
import { ggufBytes, llamaMetadata, llamaTensors, type TensorToWrite, type Value, writeGguf } from "./gguf-file.ts";

const shape = { layers: 1, hidden: 64, intermediate: 96, heads: 4, kvHeads: 2, vocab: 40 };
let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "gguf-model-"));
  file = join(folder, "model.gguf");
});
afterEach(() => rmSync(folder, { recursive: true }));

const zeros = (name: string, sizes: readonly number[]): TensorToWrite => ({
  name,
  shape: sizes,
  type: "F32",
  bytes: new Uint8Array(4 * sizes.reduce((a, b) => a * b, 1)),
});
const tensors = llamaTensors(shape).map(([name, sizes]) => zeros(name, sizes));

/** The model with some keys changed or added, and tensors added. */
function write(changes: Record<string, Value> = {}, more: readonly TensorToWrite[] = [], architecture = "llama") {
  const metadata = new Map<string, Value>([...llamaMetadata(shape, architecture), ...Object.entries(changes)]);
  return writeGguf(file, { metadata: [...metadata], tensors: [...tensors, ...more] });
}
const configOf = async (...given: Parameters<typeof write>) => (await openGguf(write(...given))).config;
const refusal = (...given: Parameters<typeof write>) => openGguf(write(...given)).catch((error: unknown) => error);

describe("a GGUF file's configuration", () => {
  it("is what its keys say, in this engine's words", async () => {
    expect(await configOf()).toMatchObject({
      vocabSize: 40,
      hiddenSize: 64,
      intermediateSize: 96,
      layers: 1,
      heads: 4,
      kvHeads: 2,
      headDim: 16,
      rmsNormEps: 1e-5,
      maxPositionEmbeddings: 512,
      slidingWindow: null,
      tiedHead: true,
      attentionBias: false,
      queryKeyNorm: false,
    });
  });

  it("has a head of its own where there is one, heads of another size, a window, and the vocabulary's size", async () => {
    const config = await configOf(
      {
        "llama.attention.key_length": ["u32", 32],
        "llama.attention.value_length": ["u32", 32],
        "llama.rope.dimension_count": ["u32", 32],
        "llama.attention.sliding_window": ["u32", 100],
        "llama.attention.head_count_kv": ["array", "u32", [2, 2]],
      },
      [zeros("output.weight", [40, 64])],
    );
    expect(config).toMatchObject({ tiedHead: false, headDim: 32, slidingWindow: 100, kvHeads: 2 });
  });

  it.each([
    ["qwen2", { attentionBias: true, queryKeyNorm: false }],
    ["qwen3", { attentionBias: false, queryKeyNorm: true }],
    ["mistral", { attentionBias: false, queryKeyNorm: false }],
  ])("is known for %s", async (architecture, expected) => {
    expect(await configOf({}, [], architecture)).toMatchObject({ ...expected, hiddenSize: 64 });
  });

  it("scales the rotary embedding as llama.cpp does", async () => {
    const plain = (await configOf()).rope.inverseFrequencies;
    const scaled = await configOf({
      "llama.rope.scaling.type": ["string", "linear"],
      "llama.rope.scaling.factor": ["f32", 4],
    });
    expect([...scaled.rope.inverseFrequencies]).toEqual([...plain].map((value) => Math.fround(value / 4)));
    const off = await configOf({
      "llama.rope.scaling.type": ["string", "none"],
      "llama.rope.scaling.factor": ["f32", 4],
    });
    expect(off.rope.inverseFrequencies).toEqual(plain);
    const yarn = await configOf({
      "llama.rope.scaling.type": ["string", "yarn"],
      "llama.rope.scaling.factor": ["f32", 8],
      "llama.rope.scaling.original_context_length": ["u32", 64],
    });
    expect(yarn.rope.attentionScaling).toBeCloseTo(0.1 * Math.log(8) + 1, 6);
  });

  it("divides frequencies by rope_freqs.weight, which is no tensor of the model", async () => {
    const factors = Float32Array.of(1, 1, 1, 1, 2, 4, 8, 8);
    const tensor: TensorToWrite = {
      name: "rope_freqs.weight",
      shape: [8],
      type: "F32",
      bytes: new Uint8Array(factors.buffer),
    };
    const plain = (await configOf()).rope.inverseFrequencies;
    const { config, weights } = await openGguf(write({}, [tensor]));
    expect([...config.rope.inverseFrequencies]).toEqual([...plain].map((value, i) => Math.fround(value / factors[i]!)));
    expect(collectTensors(config, weights).ignored).toEqual([]);
    expect(await refusal({}, [zeros("rope_freqs.weight", [8])])).toMatchObject({ code: "CHECKPOINT_TENSOR" });
    expect(await refusal({}, [zeros("rope_freqs.weight", [2])])).toMatchObject({ code: "CHECKPOINT_TENSOR" });
  });

  it.each<[string, Record<string, Value>, string, string]>([
    ["another architecture", { "general.architecture": ["string", "gemma3"] }, "CHECKPOINT_UNSUPPORTED", '"gemma3"'],
    ["an adapter", { "general.type": ["string", "adapter"] }, "CHECKPOINT_UNSUPPORTED", "LoRA adapter"],
    ["experts", { "llama.expert_count": ["u32", 8] }, "CHECKPOINT_UNSUPPORTED", "llama.expert_count"],
    [
      "heads that are rotated in part",
      { "llama.rope.dimension_count": ["u32", 8] },
      "CHECKPOINT_UNSUPPORTED",
      "rotating a part",
    ],
    [
      "another rotary embedding",
      { "llama.rope.scaling.type": ["string", "longrope"] },
      "CHECKPOINT_UNSUPPORTED",
      '"longrope"',
    ],
    [
      "layers of different sizes",
      { "llama.feed_forward_length": ["array", "i32", [96, 64]] },
      "CHECKPOINT_UNSUPPORTED",
      "different sizes",
    ],
    ["no layers", { "llama.block_count": ["u32", 0] }, "CHECKPOINT_CONFIG", '"llama.block_count" is 0'],
    ["a text for a number", { "llama.block_count": ["string", "two"] }, "CHECKPOINT_CONFIG", '"llama.block_count"'],
    ["key heads that do not divide", { "llama.attention.head_count_kv": ["u32", 3] }, "CHECKPOINT_CONFIG", "a divisor"],
    [
      "an epsilon that is none",
      { "llama.attention.layer_norm_rms_epsilon": ["f32", Number.NaN] },
      "CHECKPOINT_CONFIG",
      "above 0",
    ],
  ])("is refused with %s", async (_, changes, code, message) => {
    expect(await refusal(changes)).toMatchObject({ code, message: expect.stringContaining(message) });
    expect(await refusal(changes)).toMatchObject({ message: expect.stringContaining(file) });
  });

  it("is refused with biases that the architecture does not have", async () => {
    const bias = zeros("blk.0.attn_q.bias", [64]);
    expect(await refusal({}, [bias])).toMatchObject({ code: "CHECKPOINT_UNSUPPORTED" });
    expect(await configOf({}, [bias], "qwen2")).toMatchObject({ attentionBias: true });
    const output = zeros("blk.0.attn_output.bias", [64]);
    expect(await refusal({}, [output], "qwen2")).toMatchObject({ code: "CHECKPOINT_UNSUPPORTED" });
  });
});

describe("a GGUF file's tensors", () => {
  it("have Hugging Face's names, queries and keys with their order of rows", async () => {
    const { config, weights } = await openGguf(write());
    const { tensors: found, ignored } = collectTensors(config, weights);
    expect(ignored).toEqual([]);
    const order = (part: string) => found.get(`model.layers.0.self_attn.${part}.weight`)?.interleavedHeads;
    expect([order("q_proj"), order("k_proj"), order("v_proj"), order("o_proj")]).toEqual([4, 2, undefined, undefined]);
    expect(found.get("model.layers.0.mlp.down_proj.weight")).toMatchObject({ shape: [64, 96], dtype: "F32", file });
  });

  it("are in Hugging Face's order for Qwen", async () => {
    const { weights } = await openGguf(write({}, [], "qwen3"));
    expect(weights.find("model.layers.0.self_attn.q_proj.weight")?.interleavedHeads).toBeUndefined();
  });

  it("of a type that cannot be loaded are refused by its name", async () => {
    const blocks = { type: "IQ4_NL", bytes: new Uint8Array((40 * 64 * 18) / 32) };
    const all = tensors.map((tensor) => (tensor.name === "token_embd.weight" ? { ...tensor, ...blocks } : tensor));
    writeFileSync(file, ggufBytes({ metadata: llamaMetadata(shape), tensors: all }));
    const { config, weights } = await openGguf(file);
    expect(() => collectTensors(config, weights)).toThrow(
      expect.objectContaining({ code: "CHECKPOINT_UNSUPPORTED", message: expect.stringContaining("stored as IQ4_NL") }),
    );
  });
});

describe("a GGUF file's name for its model", () => {
  it.each<[Record<string, Value>, string | null]>([
    [{ "general.name": ["string", "SmolLM2 135M Instruct"] }, "SmolLM2-135M-Instruct"],
    [{ "general.basename": ["string", "smollm2"] }, "smollm2"],
    [
      {
        "general.name": ["string", "x"],
        "general.source.repo_url": ["string", "https://huggingface.co/acme/Llama-7b"],
      },
      "acme/Llama-7b",
    ],
    [{ "general.name": ["string", "/home/me/models/7B"] }, null],
    [{ "general.name": ["string", "../../etc"] }, null],
    [{ "general.name": ["string", "C:\\models\\x"] }, null],
    [{ "general.name": ["string", "models"] }, null],
    [{}, null],
  ])("%j is %j", async (changes, name) => {
    expect((await openGguf(write(changes))).givenName).toBe(name);
  });
});

describe("a GGUF file's ends of an answer", () => {
  it("are those that keys name and the control tokens at which llama.cpp ends", async () => {
    const tokens = ["<unk>", "<s>", "</s>", "<|im_end|>", "<|eot_id|>", "<|im_end|>", "word", "<|end|>"];
    const types = [2, 3, 3, 3, 3, 1, 1, 4];
    const { listed, templateTexts } = await openGguf(
      write({
        "tokenizer.ggml.tokens": ["array", "string", tokens],
        "tokenizer.ggml.token_type": ["array", "i32", types],
        "tokenizer.ggml.bos_token_id": ["u32", 1],
        "tokenizer.ggml.eos_token_id": ["u32", 2],
        "tokenizer.ggml.eot_token_id": ["u32", 6],
        "tokenizer.ggml.padding_token_id": ["i32", -1],
      }),
    );
    expect(listed).toMatchObject([{ bosTokenIds: [1], eosTokenIds: [2, 6, 3, 4, 7] }]);
    expect(templateTexts).toEqual({ bos_token: "<s>", eos_token: "</s>" });
  });
});

describe("a split GGUF model", () => {
  const part = (number: number, count = 2) => join(folder, `m-0000${number}-of-0000${count}.gguf`);
  const split = (number: number, count = 2): [string, Value][] => [
    ["split.no", ["u16", number]],
    ["split.count", ["u16", count]],
    ["split.tensors.count", ["i32", tensors.length]],
  ];
  function writeParts(first = split(0), second = split(1), middle = 5): void {
    writeGguf(part(1), { metadata: [...llamaMetadata(shape), ...first], tensors: tensors.slice(0, middle) });
    writeGguf(part(2), { metadata: second, tensors: tensors.slice(5) });
  }
  const refused = () => openGguf(part(1)).catch((error: unknown) => error);

  it("is opened by any of its parts", async () => {
    writeParts();
    for (const given of [part(1), part(2)]) {
      const source = await openGguf(given);
      expect(source.file).toBe(part(1));
      const { tensors: found } = collectTensors(source.config, source.weights);
      expect(new Set([...found.values()].map((tensor) => tensor.file))).toEqual(new Set([part(1), part(2)]));
    }
  });

  it("is refused where a part is missing", async () => {
    writeParts();
    rmSync(part(2));
    expect(await refused()).toMatchObject({ code: "CHECKPOINT_NOT_FOUND", message: expect.stringContaining(part(2)) });
  });

  it.each([
    ["a part is another's number", split(0), split(0), 5, "named as part 2 of 2"],
    ["a part does not say that it is one", split(0), [], 5, "nothing says that it is one"],
    ["a tensor is in two parts", split(0), split(1), 6, "which is in m-00001-of-00002.gguf too"],
    ["tensors are missing", split(0), split(1), 4, "split.tensors.count is 11, the parts have 10"],
  ])("is refused where %s", async (_, first, second, middle, message) => {
    writeParts(first, second as [string, Value][], middle);
    expect(await refused()).toMatchObject({ code: "CHECKPOINT_CORRUPT", message: expect.stringContaining(message) });
  });

  it("is refused under a name that does not say which part it is", async () => {
    writeGguf(file, { metadata: [...llamaMetadata(shape), ...split(0)], tensors });
    const error = await openGguf(file).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "CHECKPOINT_CORRUPT", message: expect.stringContaining("is one of 2 parts") });
  });
});
