import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import {
  openCheckpoint,
  readSafetensorsHeader,
  readTensor,
  writeSafetensors,
} from "../../../../src/llama/checkpoint/index.ts";
import { compareChecklist, openMetaModel, tieHead } from "../../../../src/llama/checkpoint/meta/index.ts";
import { readPytorchHeader } from "../../../../src/llama/checkpoint/pytorch/read.ts";
import { referenceData } from "../../../reference-data.mjs";
import { huggingFaceTensors, params, shape, writeMeta } from "./meta-fixture.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "meta-"));
});
afterEach(() => rm(folder, { recursive: true }));

const refusal = (at = folder) =>
  openMetaModel(at).then(
    () => expect.unreachable("the model was opened"),
    (error: { code: string; message: string; hint?: string }) => error,
  );

describe("a model in Meta's format", () => {
  it.each([
    [1, 1],
    [2, 1],
    [2, 0],
  ] as const)(
    "gives Hugging Face's tensors bit for bit, of %i shards with the embedding cut along dimension %i",
    async (shards, embeddingAxis) => {
      await writeMeta(folder, { shards, embeddingAxis });
      const model = await openMetaModel(folder);
      expect(model).toMatchObject({ folder, warnings: [], tokenizerFile: null });
      const expected = huggingFaceTensors();
      expect(model.tensors.map(({ name }) => name)).toEqual([...expected.keys()]);
      for (const { name, shape: sizes, dtype, read } of model.tensors) {
        expect({ name, sizes, dtype }).toEqual({ name, sizes: expected.get(name)!.shape, dtype: "BF16" });
        expect([...new Uint16Array((await read()).buffer)], name).toEqual([...expected.get(name)!.data]);
      }
    },
  );

  it("gives its configuration, the vocabulary from the embedding", async () => {
    await writeMeta(folder, { shards: 2 });
    const { config, configJson } = await openMetaModel(folder);
    expect(config).toMatchObject({ ...shape, rmsNormEps: 1e-5, maxPositionEmbeddings: 4096 });
    expect(configJson).toMatchObject({
      model_type: "llama",
      vocab_size: 20,
      rope_theta: 10_000,
      torch_dtype: "bfloat16",
    });
  });

  it("lies in the one folder below the given one, its tokenizer beside it or one level up", async () => {
    const model = join(folder, "7B");
    await writeMeta(model);
    await writeFile(join(folder, "tokenizer.model"), "");
    expect(await openMetaModel(folder)).toMatchObject({
      folder: model,
      tokenizerFile: join(folder, "tokenizer.model"),
    });
    await rename(join(folder, "tokenizer.model"), join(model, "tokenizer.model"));
    expect(await openMetaModel(model)).toMatchObject({ tokenizerFile: join(model, "tokenizer.model") });
  });

  it("has a tied head where its head is the embedding again", async () => {
    const model = () => openMetaModel(folder).then(tieHead);
    await writeMeta(folder, { shards: 2, embeddingAxis: 0 });
    expect(await model()).toMatchObject({ config: { tiedHead: false }, configJson: { tie_word_embeddings: false } });
    await writeMeta(folder, {
      shards: 2,
      embeddingAxis: 0,
      change: (tensors) => tensors.set("output.weight", tensors.get("tok_embeddings.weight")!),
    });
    const { config, configJson, tensors } = await model();
    expect([config.tiedHead, configJson.tie_word_embeddings, tensors.length]).toEqual([true, true, 2 * 9 + 2]);
    await rm(join(folder, "consolidated.01.pth"));
    await writeMeta(folder, { change: (tensors) => tensors.delete("output.weight") });
    expect((await openMetaModel(folder)).config.tiedHead).toBe(true);
  });

  it("is read from Mistral's consolidated.safetensors", async () => {
    await writeMeta(folder);
    const file = join(folder, "consolidated.00.pth");
    const tensors = await Promise.all(
      [...(await readPytorchHeader(file))].map(async ([name, entry]) => {
        return {
          name,
          shape: entry.shape,
          data: await readTensor({ ...entry, dtype: "BF16" }),
          dtype: "BF16" as const,
        };
      }),
    );
    const numbered = tensors.filter(({ name }) => name !== "rope.freqs");
    await writeSafetensors(join(folder, "consolidated.safetensors"), numbered);
    await rm(file);
    await writeFile(join(folder, "params.json"), JSON.stringify({ ...params, hidden_dim: 44, sliding_window: 4096 }));
    const { config, tensors: converted } = await openMetaModel(folder);
    expect(config).toMatchObject({ slidingWindow: 4096, maxPositionEmbeddings: 32_768 });
    const name = "model.layers.1.self_attn.k_proj.weight";
    const key = await converted.find((tensor) => tensor.name === name)!.read();
    // Both are numbers that bfloat16 holds, or not numbers at all.
    expect([...new Uint16Array(key.buffer)]).toEqual([...huggingFaceTensors().get(name)!.data]);
  });

  it("says what params.json has otherwise than the tensors, and which tensors are not used", async () => {
    await writeMeta(folder, {
      params: { ...params, vocab_size: 32_000, multiple_of: 256 },
      change: (tensors) => tensors.set("lora.weight", { shape: [1], data: new Uint8Array(4) }),
    });
    expect((await openMetaModel(folder)).warnings).toEqual([
      `${join(folder, "params.json")}: a vocabulary of 32000 ignored, the tensors have 20`,
      `${join(folder, "params.json")}: a feed-forward size of 256 ignored, the tensors have 44`,
      `${folder}: tensor "lora.weight" not used`,
    ]);
  });
});

describe("a folder of Meta's that cannot be converted", () => {
  it("is refused naming the shard that is missing, of those between and of the last ones", async () => {
    await writeMeta(folder, { shards: 2 });
    await rename(join(folder, "consolidated.01.pth"), join(folder, "consolidated.02.pth"));
    const missing = { code: "CHECKPOINT_NOT_FOUND", message: `${join(folder, "consolidated.01.pth")}: no such file` };
    expect(await refusal()).toMatchObject(missing);
    await rm(join(folder, "consolidated.02.pth"));
    expect(await refusal()).toMatchObject(missing);
    await rm(join(folder, "consolidated.00.pth"));
    expect(await refusal()).toMatchObject({ code: "CHECKPOINT_NOT_FOUND" });
  });

  it("is refused without params.json, or with one that describes another model", async () => {
    await writeMeta(folder);
    await rm(join(folder, "params.json"));
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
      hint: expect.stringContaining("params.json"),
    });
    await writeMeta(folder, { params: { ...params, n_kv_heads: 4 } });
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_TENSOR",
      message: `${join(folder, "consolidated.00.pth")}: tensor "layers.0.attention.wk.weight" has shape [8, 16], params.json asks for [16, 16]`,
    });
  });

  it.each([
    ['{"dim": 16', "not valid JSON"],
    ["[]", "holds no JSON object"],
    [JSON.stringify({ ...params, dim: "16" }), '"dim" is "16"; a whole number'],
    [JSON.stringify({ ...params, n_heads: 3 }), '"n_kv_heads" is 2; a divisor'],
    [JSON.stringify({ model: { ...params, norm_eps: 0 } }), '"model.norm_eps" is 0'],
  ])("is refused with an impossible params.json: %s", async (text, what) => {
    await writeMeta(folder);
    await writeFile(join(folder, "params.json"), text);
    expect(await refusal()).toMatchObject({ code: "CHECKPOINT_CONFIG", message: expect.stringContaining(what) });
  });

  it("is refused naming a tensor that a shard lacks, that has another shape there, or another type", async () => {
    const name = "layers.1.attention.wo.weight";
    await writeMeta(folder, { shards: 2, change: (tensors, shard) => shard === 1 && tensors.delete(name) });
    expect((await refusal()).message).toBe(`${join(folder, "consolidated.01.pth")}: tensor "${name}" is missing`);
    const other = { shape: [16, 4], data: new Uint8Array(256) };
    await writeMeta(folder, { shards: 2, change: (tensors, shard) => shard === 1 && tensors.set(name, other) });
    expect((await refusal()).message).toContain(
      "has shape [16, 8], [16, 4] in the shards, params.json asks for [16, 16] in all",
    );
    const single = { shape: [16, 8], data: new Uint8Array(512) };
    await writeMeta(folder, { shards: 2, change: (tensors, shard) => shard === 1 && tensors.set(name, single) });
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_UNSUPPORTED",
      message: expect.stringContaining("is stored as BF16 and F32"),
    });
  });

  it("is never served: the error is the command to type", async () => {
    await writeMeta(join(folder, "7B"));
    await expect(openCheckpoint(folder)).rejects.toMatchObject({
      code: "CHECKPOINT_UNSUPPORTED",
      message: expect.stringContaining("is in Meta's original format"),
      hint: `Convert it: \`npx llama-lora convert ${join(folder, "7B")} weights\``,
    });
    vi.stubEnv("LLAMA_WEIGHTS", folder);
    onTestFinished(() => void vi.unstubAllEnvs());
    await expect(openCheckpoint(folder)).rejects.toMatchObject({
      hint: expect.stringMatching(/ weights`, then unset LLAMA_WEIGHTS$/),
    });
  });
});

describe("checklist.chk", () => {
  const md5 = async (name: string) =>
    createHash("md5")
      .update(await readFile(join(folder, name)))
      .digest("hex");

  it("is compared with the weights that it lists", async () => {
    await writeMeta(folder, { shards: 2 });
    expect(await compareChecklist(folder)).toBe(0);
    const names = ["consolidated.00.pth", "consolidated.01.pth"];
    const lines = await Promise.all(names.map(async (name) => `${await md5(name)}  ${name}`));
    const list = [...lines, `${"0".repeat(32)}  params.json`].join("\n");
    await writeFile(join(folder, "checklist.chk"), `${list}\n`);
    let bytes = 0;
    expect(await compareChecklist(folder, { onBytes: (count) => (bytes += count) })).toBe(2);
    expect(bytes).toBeGreaterThan(2000);
    await writeFile(join(folder, names[1]!), "cut");
    await expect(compareChecklist(folder)).rejects.toMatchObject({
      code: "CHECKPOINT_CORRUPT",
      message: expect.stringContaining(`${join(folder, names[1]!)}: its MD5 is not`),
    });
    await rm(join(folder, names[1]!));
    await expect(compareChecklist(folder)).rejects.toMatchObject({ code: "CHECKPOINT_NOT_FOUND" });
  });

  it.each(["no list", `${"0".repeat(32)}  ../consolidated.00.pth`, `${"0".repeat(32)}  /etc/passwd`])(
    "is refused where it is no list of plain names: %s",
    async (line) => {
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, "checklist.chk"), line);
      await expect(compareChecklist(folder)).rejects.toMatchObject({
        code: "CHECKPOINT_CORRUPT",
        message: expect.stringContaining("line 1 is no MD5 and plain file name"),
      });
    },
  );
});

const stories = resolve(referenceData, "data/stories260k");

// A published model is not part of this repository.
describe.skipIf(!existsSync(stories))("a published model in Meta's format", () => {
  it.each(["meta-1-shard", "meta-2-shard"])(
    "gives the numbers of its Hugging Face folder, in float16: %s",
    async (layout) => {
      const model = await tieHead(await openMetaModel(join(stories, layout)));
      expect(model).toMatchObject({ config: { tiedHead: true, vocabSize: 512, kvHeads: 4 }, warnings: [] });
      expect(model.tokenizerFile).toBe(join(stories, "tokenizer.model"));
      const { tensors } = await readSafetensorsHeader(join(stories, "hf/model.safetensors"));
      expect(model.tensors.map(({ name }) => name).toSorted()).toEqual([...tensors.keys()].toSorted());
      const narrowed = join(folder, "model.safetensors");
      const wide = [...tensors].map(async ([name, entry]) => {
        return { name, shape: entry.shape, dtype: "F16" as const, data: await readTensor({ ...entry, dtype: "F32" }) };
      });
      await writeSafetensors(narrowed, await Promise.all(wide));
      const expected = await readFile(narrowed);
      const places = (await readSafetensorsHeader(narrowed)).tensors;
      for (const { name, shape: sizes, dtype, read } of model.tensors) {
        const { offset, bytes } = places.get(name)!;
        expect([sizes, dtype]).toEqual([tensors.get(name)!.shape, "F16"]);
        expect(expected.subarray(offset, offset + bytes).equals(await read()), name).toBe(true);
      }
    },
  );
});
