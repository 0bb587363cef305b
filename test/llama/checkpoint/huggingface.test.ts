import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LlamaConfig } from "../../../src/engine/config.ts";
import { openCheckpoint, type TensorToWrite, writeSafetensors } from "../../../src/llama/checkpoint/index.ts";
import { expectedTensors } from "../../../src/llama/checkpoint/tensors.ts";
import { referenceData } from "../../reference-data.mjs";
import { modelFile, usualPieces } from "../tokenizer/sentencepiece-fixture.ts";

const tiny = {
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 262,
  max_position_embeddings: 64,
  bos_token_id: 1,
  eos_token_id: 2,
};
const shapes: Pick<
  LlamaConfig,
  "vocabSize" | "hiddenSize" | "intermediateSize" | "layers" | "heads" | "kvHeads" | "headDim"
> = { vocabSize: 262, hiddenSize: 8, intermediateSize: 12, layers: 2, heads: 4, kvHeads: 2, headDim: 2 };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "checkpoint-"));
});
afterEach(() => rm(folder, { recursive: true }));

function tinyTensors(changes: object = {}): TensorToWrite[] {
  const config = { ...shapes, tiedHead: false, ...changes } as LlamaConfig;
  return [...expectedTensors(config)].map(([name, shape]) => ({
    name,
    shape,
    data: new Float32Array(shape.reduce((product, size) => product * size, 1)),
  }));
}

async function writeTiny(at: string, config: object = {}, tensors = tinyTensors()): Promise<void> {
  await mkdir(at, { recursive: true });
  await writeFile(join(at, "config.json"), JSON.stringify({ ...tiny, ...config }));
  await writeFile(join(at, "tokenizer.model"), modelFile(usualPieces(["\u2581", "a", "b"])));
  await writeSafetensors(join(at, "model.safetensors"), tensors);
}

/** The same weights as two files and an index. */
async function writeShards(change: (map: Record<string, string>) => void = () => {}): Promise<void> {
  await writeTiny(folder);
  await rm(join(folder, "model.safetensors"));
  const tensors = tinyTensors();
  const names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;
  await writeSafetensors(join(folder, names[0]), tensors.slice(0, 7));
  await writeSafetensors(join(folder, names[1]), tensors.slice(7));
  const map: Record<string, string> = {};
  for (const [i, { name }] of tensors.entries()) map[name] = names[i < 7 ? 0 : 1];
  change(map);
  await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: map }));
}

const refusal = async (at = folder) => {
  const error = await openCheckpoint(at).catch((reason: unknown) => reason);
  return error as { code: string; message: string; hint?: string };
};

describe("opening a checkpoint folder", () => {
  it("gives configuration, tensors, tokenizer and special ids", async () => {
    await writeTiny(folder);
    const checkpoint = await openCheckpoint(folder);
    expect(checkpoint).toMatchObject({ folder, bosTokenId: 1, eosTokenIds: [2], warnings: [] });
    expect(checkpoint.config).toMatchObject({ ...shapes, tiedHead: false });
    expect(checkpoint.weights.tensors.size).toBe(2 * 9 + 3);
    expect(checkpoint.weights.tensors.get("model.layers.1.self_attn.k_proj.weight")).toMatchObject({
      file: join(folder, "model.safetensors"),
      dtype: "F32",
      shape: [4, 8],
    });
    expect(checkpoint.tokenizer.vocabSize).toBe(262);
  });

  it("takes the head from the embedding when it is tied, even where a head is stored", async () => {
    await writeTiny(folder, { tie_word_embeddings: true });
    const { weights, warnings } = await openCheckpoint(folder);
    expect(weights.tensors.has("lm_head.weight")).toBe(false);
    expect(warnings).toEqual([]);
  });

  it("ignores an index none of whose shards is there, with a warning, and follows one that names the single file", async () => {
    await writeTiny(folder);
    const index = (file: string) =>
      JSON.stringify({ weight_map: Object.fromEntries(tinyTensors().map(({ name }) => [name, file])) });
    await writeFile(join(folder, "model.safetensors.index.json"), index("model-00001-of-00001.safetensors"));
    expect((await openCheckpoint(folder)).warnings).toEqual([expect.stringContaining("index.json: ignored")]);
    await writeFile(join(folder, "model.safetensors.index.json"), index("model.safetensors"));
    expect((await openCheckpoint(folder)).warnings).toEqual([]);
  });

  it("reads shards by their index", async () => {
    await writeShards();
    const { weights } = await openCheckpoint(folder);
    expect(weights.tensors.size).toBe(2 * 9 + 3);
    expect(weights.tensors.get("lm_head.weight")?.file).toBe(join(folder, "model-00002-of-00002.safetensors"));
  });

  it("takes the size of the vocabulary from the embedding", async () => {
    await writeTiny(folder, {}, tinyTensors({ vocabSize: 300 }));
    expect((await openCheckpoint(folder)).config.vocabSize).toBe(300);
  });

  it("finds weights/llama-7b with weights/tokenizer, from either folder", async () => {
    const model = join(folder, "llama-7b");
    await writeTiny(model);
    await mkdir(join(folder, "tokenizer"));
    await rename(join(model, "tokenizer.model"), join(folder, "tokenizer", "tokenizer.model"));
    for (const at of [folder, model])
      expect(await openCheckpoint(at)).toMatchObject({ folder: model, name: "llama-7b" });
  });

  it("lets the tokenizer overrule the special ids of the first conversions, and says so", async () => {
    await writeTiny(folder, { bos_token_id: 0, eos_token_id: 1, pad_token_id: -1 });
    const { bosTokenId, eosTokenIds, warnings } = await openCheckpoint(folder);
    expect({ bosTokenId, eosTokenIds }).toEqual({ bosTokenId: 1, eosTokenIds: [2] });
    expect(warnings).toEqual([
      expect.stringContaining('"eos_token_id" 1 ignored, the tokenizer says 2'),
      expect.stringContaining('"bos_token_id" 0 ignored, the tokenizer says 1'),
    ]);
  });

  it("keeps every eos_token_id that config.json and generation_config.json list, beside a tokenizer.model too", async () => {
    await writeTiny(folder, { eos_token_id: [2, 260] });
    await writeFile(join(folder, "generation_config.json"), '{"eos_token_id": [261, 2]}');
    expect(await openCheckpoint(folder)).toMatchObject({ eosTokenIds: [2, 260, 261], warnings: [] });
  });

  it("drops the unknown piece, the beginning of a text and ids below zero from what ends a text", async () => {
    await writeTiny(folder, { eos_token_id: [0, 1, -1, 260] });
    await writeFile(
      join(folder, "generation_config.json"),
      '{"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}',
    );
    const { eosTokenIds, warnings } = await openCheckpoint(folder);
    expect(eosTokenIds).toEqual([2, 260]);
    expect(warnings).toEqual([
      expect.stringContaining('/config.json: "eos_token_id" 0 ignored'),
      expect.stringContaining('/config.json: "eos_token_id" 1 ignored'),
      expect.stringContaining('generation_config.json: "eos_token_id" 1 ignored'),
      expect.stringContaining('generation_config.json: "bos_token_id" 0 ignored'),
    ]);
  });

  it("ends a text at ids past the tokenizer's too, from generation_config.json as well", async () => {
    await writeTiny(folder, { eos_token_id: [2, 262] }, tinyTensors({ vocabSize: 264 }));
    await writeFile(join(folder, "generation_config.json"), '{"eos_token_id": [263, 999]}');
    const { eosTokenIds, warnings } = await openCheckpoint(folder);
    expect(eosTokenIds).toEqual([2, 262, 263]);
    expect(warnings).toEqual([expect.stringContaining('generation_config.json: "eos_token_id" 999 ignored')]);
  });

  it("names tensors that it does not use, but not the frequencies of old conversions", async () => {
    const extra = (name: string) => ({ name, shape: [1], data: Float32Array.of(0) });
    const derived = extra("model.layers.0.self_attn.rotary_emb.inv_freq");
    await writeTiny(folder, {}, [...tinyTensors(), derived]);
    expect((await openCheckpoint(folder)).warnings).toEqual([]);
    await writeTiny(folder, {}, [...tinyTensors(), extra("model.layers.0.self_attn.q_proj.bias")]);
    expect((await openCheckpoint(folder)).warnings).toEqual([expect.stringContaining("q_proj.bias")]);
  });
});

describe("a checkpoint folder that cannot be used", () => {
  it("is refused when there is none, or nothing in it", async () => {
    expect(await refusal(join(folder, "none"))).toMatchObject({ code: "CHECKPOINT_NOT_FOUND" });
    expect(await refusal()).toMatchObject({ code: "CHECKPOINT_NOT_FOUND", message: `${folder}: has no config.json` });
  });

  it("is refused without weights, and without config.json, saying which is missing", async () => {
    await writeTiny(folder);
    await rename(join(folder, "config.json"), join(folder, "moved.json"));
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
      message: `${folder}: has model.safetensors, but no config.json`,
      hint: expect.stringContaining("config.json of the same model"),
    });
    await rename(join(folder, "moved.json"), join(folder, "config.json"));
    await rm(join(folder, "model.safetensors"));
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
      message: expect.stringContaining("holds neither model.safetensors nor pytorch_model.bin"),
    });
  });

  it("is refused when it holds two sets of weights, naming both, and never opened with either", async () => {
    await writeShards();
    await writeSafetensors(join(folder, "model.safetensors"), tinyTensors());
    const both = {
      code: "CHECKPOINT_AMBIGUOUS",
      message: `${folder}: holds two sets of weights: model.safetensors, and model-00001-of-00002.safetensors and 1 more`,
    };
    expect(await refusal()).toMatchObject(both);
    // Without the index they are as much there.
    await rm(join(folder, "model.safetensors.index.json"));
    expect(await refusal()).toMatchObject(both);
  });

  it("is refused when its weights have another name", async () => {
    await writeTiny(folder);
    await rename(join(folder, "model.safetensors"), join(folder, "llama.safetensors"));
    expect(await refusal()).toMatchObject({ hint: "Rename the file to model.safetensors" });
  });

  it("is refused with advice when its weights are of another format", async () => {
    await writeTiny(folder);
    await rename(join(folder, "model.safetensors"), join(folder, "llama.ckpt"));
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_UNSUPPORTED",
      message: `${join(folder, "llama.ckpt")}: is a checkpoint of a training`,
      hint: expect.stringContaining("safetensors"),
    });
  });

  it("is refused when a tensor is missing or has another shape, naming both", async () => {
    const name = "model.layers.1.mlp.up_proj.weight";
    await writeTiny(
      folder,
      {},
      tinyTensors().filter((tensor) => tensor.name !== name),
    );
    expect(await refusal()).toMatchObject({ code: "CHECKPOINT_TENSOR", message: expect.stringContaining(name) });
    await writeTiny(folder, { num_key_value_heads: 4 });
    expect((await refusal()).message).toContain(
      'tensor "model.layers.0.self_attn.k_proj.weight" has shape [4, 8], the configuration asks for [8, 8]',
    );
  });

  it("is refused when the weights are truncated", async () => {
    await writeTiny(folder);
    const file = join(folder, "model.safetensors");
    const size = (await readFile(file)).length;
    await truncate(file, size - 1);
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_CORRUPT",
      message: `${file}: is truncated: the header describes ${size} bytes, the file has ${size - 1}`,
    });
  });

  it.each([["../outside.safetensors"], ["/etc/passwd"], [".."], [""], ["a\\b"]])(
    "is refused when its index names a file outside it: %j",
    async (file) => {
      await writeShards((map) => {
        map["lm_head.weight"] = file;
      });
      expect(await refusal()).toMatchObject({
        code: "CHECKPOINT_CORRUPT",
        message: expect.stringContaining("plain file"),
      });
    },
  );

  it("is refused when a shard is missing, or lacks a tensor that the index places there", async () => {
    await writeShards((map) => {
      map["lm_head.weight"] = "model-00001-of-00002.safetensors";
    });
    expect((await refusal()).message).toContain('tensor "lm_head.weight" is missing');
    await rm(join(folder, "model-00002-of-00002.safetensors"));
    await writeShards();
    await rm(join(folder, "model-00002-of-00002.safetensors"));
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
      message: expect.stringContaining("model-00002-of-00002.safetensors"),
    });
  });

  it("is refused without a tokenizer, and with one that has more pieces than the model", async () => {
    await writeTiny(folder);
    await writeFile(join(folder, "tokenizer.model"), modelFile(usualPieces(["\u2581", "a", "b", "c"])));
    expect(await refusal()).toMatchObject({
      code: "TOKENIZER_MISMATCH",
      message: expect.stringMatching(/has 263 pieces, .* has 262 embeddings/),
    });
    await rm(join(folder, "tokenizer.model"));
    expect(await refusal()).toMatchObject({ code: "TOKENIZER_NOT_FOUND" });
  });
});

const published = resolve(referenceData, "data/stories260k/hf");

// A published model is not part of this repository.
describe.skipIf(!existsSync(published))("a published checkpoint", () => {
  it("opens with its tied head and grouped heads", async () => {
    const { config, weights, warnings } = await openCheckpoint(published);
    expect(config).toMatchObject({ tiedHead: true, heads: 8, kvHeads: 4, layers: 5, vocabSize: 512 });
    expect(weights.tensors.size).toBe(47);
    expect(warnings).toEqual([]);
  });
});

describe("a checkpoint whose files cost more than its tensors need", () => {
  const entries = `{${Array.from({ length: 200_000 }, (_, i) => `"${i}":{}`).join(",")}}`;

  it("is refused by the size of its header, in one file and in a shard", async () => {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(entries.length));
    const file = Buffer.concat([length, Buffer.from(entries)]);
    const failure = { code: "CHECKPOINT_CORRUPT", message: expect.stringContaining(`has ${entries.length} bytes`) };
    await writeTiny(folder);
    await writeFile(join(folder, "model.safetensors"), file);
    await expect(openCheckpoint(folder)).rejects.toMatchObject(failure);
    await writeShards();
    await writeFile(join(folder, "model-00002-of-00002.safetensors"), file);
    await expect(openCheckpoint(folder)).rejects.toMatchObject(failure);
  });

  it("is refused by the size of its index and of its config.json", async () => {
    await writeShards();
    await writeFile(join(folder, "model.safetensors.index.json"), entries);
    await expect(openCheckpoint(folder)).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
    await writeFile(join(folder, "config.json"), entries);
    await expect(openCheckpoint(folder)).rejects.toMatchObject({
      code: "CHECKPOINT_CONFIG",
      message: expect.stringContaining("at most 1048576"),
    });
  });

  it.each(["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"])(
    "is refused for a %s that nests deeply",
    async (name) => {
      await writeTiny(folder);
      if (name.startsWith("tokenizer")) {
        await rm(join(folder, "tokenizer.model"));
        await writeFile(join(folder, "tokenizer.json"), "{}");
      }
      await writeFile(join(folder, name), `{"eos_token_id":${"[".repeat(100_000)}`);
      await expect(openCheckpoint(folder)).rejects.toMatchObject({
        code: name.startsWith("tokenizer") ? "TOKENIZER_CORRUPT" : "CHECKPOINT_CONFIG",
        message: expect.stringContaining("nested deeper than 64 levels"),
      });
    },
  );
});
