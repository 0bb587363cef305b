import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CodedError } from "../../../src/errors/index.ts";
import { writeSafetensors } from "../../../src/llama/checkpoint/index.ts";
import { findWeights } from "../../../src/llama/checkpoint/weight-files.ts";
import { dictCode, pickle, pytorchFile, tensorCode, zip } from "./pytorch/pytorch-fixture.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "weights-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** A file with tensors of one row, each with its name's first letter as value. */
async function write(file: string, names: readonly string[], columns = 4): Promise<void> {
  const data = (name: string) => new Float32Array(columns).fill(name.charCodeAt(0));
  const shape = [1, columns];
  if (file.endsWith(".safetensors")) {
    return writeSafetensors(
      join(folder, file),
      names.map((name) => ({ name, shape, data: data(name) })),
    );
  }
  const tensors = names.map((name) => [name, { shape, data: new Uint8Array(data(name).buffer) }] as const);
  await writeFile(join(folder, file), pytorchFile(new Map(tensors)));
}

async function writeIndex(file: string, weightMap: Readonly<Record<string, string>>): Promise<void> {
  await writeFile(join(folder, file), JSON.stringify({ metadata: {}, weight_map: weightMap }));
}

const find = () => findWeights(folder, 10);
const refusal = () =>
  find().then(
    () => expect.unreachable("weights were found"),
    (error: CodedError) => error,
  );
/** The files that tensors a and b are taken from. */
const files = async () => {
  const { find: entry } = await find();
  return ["a", "b"].map((name) => entry(name)?.file.slice(folder.length + 1));
};

describe("the weights in a folder", () => {
  it.each([
    "model.safetensors",
    "model.fp16.safetensors",
    "pytorch_model.bin",
    "pytorch_model.fp16.bin",
    "model.pt",
    "llama.pth",
  ])("are in one file: %s", async (file) => {
    await write(file, ["a", "b"]);
    expect(await files()).toEqual([file, file]);
    expect(await find()).toMatchObject({ names: ["a", "b"], file: join(folder, file), warnings: [] });
  });

  it.each([
    ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
    ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"],
    [
      "model.fp16-00001-of-00002.safetensors",
      "model.fp16-00002-of-00002.safetensors",
      "model.safetensors.index.fp16.json",
    ],
    [
      "pytorch_model-00001-of-00002.fp16.bin",
      "pytorch_model-00002-of-00002.fp16.bin",
      "pytorch_model.bin.index.fp16.json",
    ],
  ])("are in shards, with and without an index: %s", async (first, second, index) => {
    await write(first, ["a"]);
    await write(second, ["b"]);
    expect(await files()).toEqual([first, second]);
    await writeIndex(index, { a: first, b: second });
    expect(await files()).toEqual([first, second]);
    expect(await find()).toMatchObject({ file: join(folder, index), warnings: [] });
  });

  it("are in shards that count from 0, of a conversion in 33 files too", async () => {
    const names = Array.from({ length: 33 }, (_, i) => `pytorch_model-${String(i).padStart(5, "0")}-of-00033.bin`);
    for (const [i, name] of names.entries()) await write(name, [`t${i}`]);
    expect((await find()).names).toHaveLength(33);
    await rm(join(folder, names[17]!));
    expect((await refusal()).message).toContain(`${names[17]}: no such file (32 of 33 shards are there)`);
  });

  it("are in files that an index names otherwise", async () => {
    await write("layers.bin", ["a"]);
    await write("rest.bin", ["b"]);
    await writeIndex("pytorch_model.bin.index.json", { a: "layers.bin", b: "rest.bin" });
    expect(await files()).toEqual(["layers.bin", "rest.bin"]);
  });

  it("are the safetensors of the same model in both formats, and a line says so", async () => {
    await write("model.safetensors", ["a", "b"]);
    await write("pytorch_model.bin", ["a", "b", "lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"]);
    await write("model.fp16.safetensors", ["a", "b"]);
    await write("consolidated.safetensors", ["norm.weight"]);
    expect(await find()).toMatchObject({
      file: join(folder, "model.safetensors"),
      warnings: [
        `${join(folder, "pytorch_model.bin")}: not used, model.safetensors is taken`,
        `${join(folder, "model.fp16.safetensors")}: not used, model.safetensors is taken`,
        `${join(folder, "consolidated.safetensors")}: not used, model.safetensors is taken`,
      ],
    });
  });

  it("are the safetensors where the other format is not whole", async () => {
    await write("model.safetensors", ["a", "b"]);
    await write("pytorch_model-00001-of-00002.bin", ["a"]);
    const line = "pytorch_model-00001-of-00002.bin: not used, model.safetensors is taken, and it cannot be read";
    expect((await find()).warnings).toEqual([`${join(folder, line)} (CHECKPOINT_NOT_FOUND)`]);
  });

  it("are the .bin files beside an index of safetensors that are not there", async () => {
    await write("pytorch_model.bin", ["a", "b"]);
    await writeIndex("model.safetensors.index.json", { a: "model-00001-of-00001.safetensors" });
    expect(await files()).toEqual(["pytorch_model.bin", "pytorch_model.bin"]);
    expect((await find()).warnings).toEqual([expect.stringContaining("model.safetensors.index.json: not used")]);
  });
});

describe("weights that leave a doubt, or are not whole", () => {
  it("are refused where two formats hold different models", async () => {
    await write("model.safetensors", ["a", "b"]);
    await write("pytorch_model.bin", ["a", "b"], 8);
    const ambiguous = (name: string) => ({
      code: "CHECKPOINT_AMBIGUOUS",
      message: `${folder}: holds two sets of weights: model.safetensors, and pytorch_model.bin (tensor "${name}" differs)`,
    });
    expect(await refusal()).toMatchObject(ambiguous("a"));
    await write("pytorch_model.bin", ["a", "b", "c"]);
    expect(await refusal()).toMatchObject(ambiguous("c"));
  });

  it.each([
    [
      ["pytorch_model.bin", "pytorch_model-00001-of-00001.bin"],
      "two sets of weights: pytorch_model.bin, and pytorch_model-",
    ],
    [
      ["model.fp16.safetensors", "model.bf16.safetensors"],
      "several variants of its weights: model.bf16.safetensors, model.fp16",
    ],
    [["model-00001-of-00002.safetensors", "model-00001-of-00003.safetensors"], "shards of several sets: of 2 and of 3"],
    [["a.pt", "b.pth"], "several files of weights: a.pt, b.pth"],
  ])("are refused: %j", async (names, what) => {
    for (const name of names) await write(name, ["a"]);
    expect(await refusal()).toMatchObject({ code: "CHECKPOINT_AMBIGUOUS", message: expect.stringContaining(what) });
  });

  it.each([
    [[2, 3], 3, "pytorch_model-00001-of-00003.bin"],
    [[1, 2], 3, "pytorch_model-00003-of-00003.bin"],
    [[1], 999_999_999, "pytorch_model-00002-of-999999999.bin"],
  ])("are refused naming the shard that is missing: %j of %i", async (numbers, of, missing) => {
    for (const number of numbers) {
      await write(`pytorch_model-${String(number).padStart(5, "0")}-of-${String(of).padStart(5, "0")}.bin`, [
        `t${number}`,
      ]);
    }
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
      message: expect.stringContaining(`${join(folder, missing)}: no such file`),
    });
  });

  it("are refused where two shards hold one tensor", async () => {
    for (const number of [1, 2]) await write(`pytorch_model-0000${number}-of-00002.bin`, ["a"]);
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_CORRUPT",
      message: expect.stringContaining('-00002-of-00002.bin: tensor "a" is in '),
    });
  });

  it("are refused naming a tensor whose elements do not lie one after another", async () => {
    const code = tensorCode({ key: "0", count: 6, shape: [3, 2], strides: [1, 3] });
    const members = [
      { name: "a/data.pkl", data: pickle(dictCode([["a", code]])) },
      { name: "a/data/0", data: new Uint8Array(24) },
    ];
    await writeFile(join(folder, "pytorch_model.bin"), zip(members));
    const { find: entry } = await find();
    expect(() => entry("a")).toThrow('tensor "a" is a view whose elements do not lie one after another (strides 1,3)');
  });

  it.each([
    ["llama.bin", "is not named as PyTorch weights are", "Rename the file to pytorch_model.bin"],
    ["consolidated.00.pth", "is in Meta's original format", "npx llama-lora convert"],
    ["consolidated.safetensors", "is in Meta's original format", "npx llama-lora convert"],
  ])("are refused with what to do: %s", async (name, what, hint) => {
    await write(name, ["a"]);
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_UNSUPPORTED",
      message: expect.stringContaining(`${join(folder, name)}: ${what}`),
      hint: expect.stringContaining(hint),
    });
  });
});
