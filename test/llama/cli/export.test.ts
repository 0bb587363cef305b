import { readdirSync } from "node:fs";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { linearPath, linearShape } from "../../../src/engine/config.ts";
import { dequantizeBlocks } from "../../../src/engine/tensors/blocks.ts";
import { isBlockType, isStoredType } from "../../../src/engine/tensors/stored-types.ts";
import { type GgufTensor, readGgufHeader } from "../../../src/llama/checkpoint/gguf/header.ts";
import { ggufName } from "../../../src/llama/checkpoint/gguf/names.ts";
import { quantizeBlocks } from "../../../src/llama/checkpoint/gguf/quantize.ts";
import { openCheckpoint, readTensor } from "../../../src/llama/checkpoint/index.ts";
import { buildCommand } from "../../cog/cli/command.ts";
import { CommandFolder, tiny } from "./command.ts";

beforeAll(buildCommand);
let folder: CommandFolder;
beforeEach(() => {
  folder = new CommandFolder();
});
afterEach(() => folder.remove());

async function read(tensor: GgufTensor, interleavedHeads?: number): Promise<Float32Array> {
  const { dtype } = tensor;
  if (!isStoredType(dtype)) throw new Error(dtype);
  return readTensor({ ...tensor, dtype, interleavedHeads });
}

/** Bit for bit; the runner's own comparison takes seconds for a tensor. */
function expectSame(found: Float32Array, expected: Float32Array): void {
  const bytes = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  expect(bytes(found).equals(bytes(expected))).toBe(true);
}

describe("llama-lora export", () => {
  it.each([
    ["f32", "F32"],
    ["bf16", "BF16"],
    ["q8_0", "Q8_0"],
    ["q4_1", "Q4_1"],
  ] as const)("writes a model as GGUF of type %s", async (type, dtype) => {
    const run = type === "f32" ? folder.start.bind(folder) : folder.run.bind(folder);
    const { exit, stderr } = await run("export", tiny, "-o", "tiny.gguf", "--type", type);
    expect(stderr).toContain("Written to tiny.gguf");
    expect(exit).toBe(0);
    const { weights, config } = await openCheckpoint(tiny);
    const { tensors, metadata, version } = await readGgufHeader(folder.file("tiny.gguf"));
    expect(version).toBe(3);
    expect(metadata.get("general.architecture")).toBe("llama");
    expect(metadata.get("llama.attention.head_count_kv")).toBe(3);
    expect(metadata.get("tokenizer.ggml.model")).toBe("llama");
    expect((metadata.get("tokenizer.ggml.tokens") as string[]).length).toBe(1600);
    expect([...tensors.keys()]).toEqual([...weights.tensors.keys()].map(ggufName));
    for (const [name, source] of weights.tensors) {
      const written = tensors.get(ggufName(name)!)!;
      const isVector = source.shape.length === 1;
      expect(written.dtype).toBe(isVector ? "F32" : dtype);
      const heads = name.includes("q_proj") ? config.heads : name.includes("k_proj") ? config.kvHeads : undefined;
      const values = await readTensor(source);
      const isBlock = !isVector && isBlockType(dtype);
      const expected = isBlock ? dequantizeBlocks(dtype, quantizeBlocks(dtype, values)) : values;
      expectSame(await read(written, heads), expected);
    }
  });

  it("puts adapters into the weights", async () => {
    await folder.adapter("a", ["k_proj", "up_proj"]);
    await folder.run("export", tiny, "a", "-o", "merged.gguf", "--type", "f32", "--scale", "0.5");
    await folder.run("merge", tiny, "a", "-o", "merged", "--dtype", "f32", "--scale", "0.5");
    const { tensors } = await readGgufHeader(folder.file("merged.gguf"));
    const { weights, config } = await openCheckpoint(folder.file("merged"));
    for (const [name, source] of weights.tensors) {
      const heads = name.includes("q_proj") ? config.heads : name.includes("k_proj") ? config.kvHeads : undefined;
      expectSame(await read(tensors.get(ggufName(name)!)!, heads), await readTensor(source));
    }
  });

  it.each([
    ["merge", "x"],
    ["export", "x.gguf"],
    ["export", "x", "--meta"],
  ])("refuses adapters that overflow the weights and writes nothing: %s -o %s", async (command, output, ...words) => {
    await folder.adapter("a", ["k_proj"], 2, 1e38);
    const before = folder.files();
    const { exit, stderr } = await folder.run(command, tiny, "a", "-o", output, "--scale", "1e5", ...words);
    expect(stderr).toContain('makes "model.layers.0.self_attn.k_proj.weight" hold a number that is not finite');
    expect(exit).toBe(1);
    expect(folder.files()).toEqual(before);
  });

  it("writes an adapter alone, rows of B in the base's order", async () => {
    const modules = await folder.adapter("a", ["q_proj", "down_proj"], 3, 6);
    const { exit } = await folder.run("export", "a", "--base", tiny, "-o", "lora.gguf");
    expect(exit).toBe(0);
    const { config } = await openCheckpoint(tiny);
    const { tensors, metadata } = await readGgufHeader(folder.file("lora.gguf"));
    expect(Object.fromEntries(metadata)).toMatchObject({
      "general.type": "adapter",
      "general.architecture": "llama",
      "adapter.type": "lora",
      "adapter.lora.alpha": 6,
    });
    expect(tensors.size).toBe(2 * modules.length);
    for (const { layer, linear, a, b, rank } of modules) {
      const name = ggufName(`${linearPath(layer, linear)}.weight`)!;
      const [out, input] = linearShape(config, linear);
      expect(tensors.get(`${name}.lora_a`)!.shape).toEqual([rank, input]);
      expect(tensors.get(`${name}.lora_b`)!.shape).toEqual([out, rank]);
      expectSame(await read(tensors.get(`${name}.lora_a`)!), a);
      expectSame(await read(tensors.get(`${name}.lora_b`)!, linear === "q_proj" ? config.heads : undefined), b);
    }
  });

  it("writes Meta's format, which converts back to the same model", async () => {
    await folder.adapter("a");
    await folder.run("merge", tiny, "a", "-o", "merged");
    expect((await folder.run("export", tiny, "a", "-o", "meta", "--meta")).exit).toBe(0);
    expect(readdirSync(folder.file("meta")).toSorted()).toEqual([
      "consolidated.00.pth",
      "params.json",
      "tokenizer.model",
    ]);
    expect((await folder.run("convert", "meta", "back")).exit).toBe(0);
    const [merged, back] = [await openCheckpoint(folder.file("merged")), await openCheckpoint(folder.file("back"))];
    // Meta's files do not say how long a context the model was trained on.
    const { maxPositionEmbeddings } = back.config;
    expect(back.config).toEqual({ ...merged.config, maxPositionEmbeddings });
    for (const [name, source] of merged.weights.tensors) {
      expectSame(await readTensor(back.weights.tensors.get(name)!), await readTensor(source));
    }
  });

  it.each([
    ["a file of another ending", [tiny, "-o", "x.bin"], "x.bin: the file's name must end in .gguf"],
    ["a type that is none", [tiny, "-o", "x.gguf", "--type", "q4_k"], "f32, f16, bf16, q8_0, q4_0"],
    ["an adapter without its base", ["a", "-o", "x.gguf"], "is an adapter; name the model it is for with --base"],
    ["a base for a model", [tiny, "--base", tiny, "-o", "x.gguf"], "--base is for an adapter alone"],
    ["two adapters alone", ["a", "a", "--base", tiny, "-o", "x.gguf"], "is an adapter; one is written at a time"],
    ["blocks for an adapter", ["a", "--base", tiny, "-o", "x.gguf", "--type", "q8_0"], "written as f32, f16 or bf16"],
    ["blocks in Meta's format", [tiny, "-o", "x", "--meta", "--type", "q8_0"], "Meta's format has f32, f16 and bf16"],
    ["Meta's format in a file", [tiny, "-o", "x.gguf", "--meta"], "--meta writes a folder"],
    ["a file that is there", [tiny, "-o", "there.gguf"], "there.gguf: is there already; --force writes over it"],
    ["a folder that is not there", [tiny, "-o", "no/x.gguf"], "no: no such file or directory"],
  ])("refuses %s and writes nothing", async (_, words, message) => {
    await folder.adapter("a");
    await folder.run("export", "a", "--base", tiny, "-o", "there.gguf");
    const before = folder.files();
    const { exit, stderr } = await folder.run("export", ...words);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("    at ");
    expect(exit).toBe(1);
    expect(folder.files()).toEqual(before);
  });
});
