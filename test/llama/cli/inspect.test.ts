import { cpSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { LlamaConfig } from "../../../src/engine/config.ts";
import { openCheckpoint, writeSafetensors } from "../../../src/llama/checkpoint/index.ts";
import { expectedTensors } from "../../../src/llama/checkpoint/tensors.ts";
import { pairNorms } from "../../../src/llama/cli/inspect/norms.ts";
import { buildCommand } from "../../cog/cli/command.ts";
import { CommandFolder, tiny } from "./command.ts";

beforeAll(buildCommand);
let folder: CommandFolder;
beforeEach(() => {
  folder = new CommandFolder();
});
afterEach(() => folder.remove());

async function inspected(path: string) {
  const { exit, stdout } = await folder.run("inspect", path, "--json");
  return { exit, ...JSON.parse(stdout) };
}

/** A checkpoint in bfloat16 whose weights are a hole in the file. */
async function sparseModel(name: string, shape: Partial<LlamaConfig>): Promise<string> {
  const { config: small } = await openCheckpoint(tiny);
  const config = { ...small, kvHeads: shape.heads!, headDim: 128, tiedHead: false, vocabSize: 32_000, ...shape };
  cpSync(tiny, folder.file(name), { recursive: true });
  const entries: string[] = [];
  let end = 0;
  for (const [tensor, sizes] of expectedTensors(config)) {
    const bytes = 2 * sizes.reduce((product, size) => product * size, 1);
    entries.push(`"${tensor}":{"dtype":"BF16","shape":[${sizes}],"data_offsets":[${end},${end + bytes}]}`);
    end += bytes;
  }
  const header = Buffer.from(`{${entries.join(",")}}`);
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(BigInt(header.length));
  const file = folder.file(name, "model.safetensors");
  writeFileSync(file, Buffer.concat([start, header]));
  truncateSync(file, 8 + header.length + end);
  writeFileSync(
    folder.file(name, "config.json"),
    JSON.stringify({
      model_type: "llama",
      hidden_size: config.hiddenSize,
      intermediate_size: config.intermediateSize,
      num_hidden_layers: config.layers,
      num_attention_heads: config.heads,
      vocab_size: config.vocabSize,
      max_position_embeddings: 2048,
    }),
  );
  return name;
}

describe("llama-lora inspect", () => {
  it("says of a model its shape, types, tokenizer and needs", async () => {
    const { exit, stdout } = await folder.start("inspect", tiny);
    expect(exit).toBe(0);
    expect(stdout).toContain("Hugging Face folder");
    expect(stdout).toContain("38 BF16");
    expect(stdout).toContain("SentencePiece of 1,600 pieces, begins with 1, ends at 2");
    const report = await inspected(tiny);
    expect(report).toMatchObject({ kind: "Hugging Face folder", state: "ok", types: { BF16: 38 }, exit: 0 });
    expect(report.model).toMatchObject({ architecture: "llama", parameters: 1_930_944, layers: 4, kvHeads: 3 });
    // 2 · 4 layers · 3 heads · 32 · 2 bytes
    expect(report.needs.cachePerToken).toBe(1536);
  });

  // GiB: two bytes for each number; and 4.5 bits for those of the layers.
  it.each([
    ["7B", { layers: 32, hiddenSize: 4096, intermediateSize: 11_008, heads: 32 }, 6_738_415_616, 12.55, 3.88],
    ["65B", { layers: 80, hiddenSize: 8192, intermediateSize: 22_016, heads: 64 }, 65_285_660_672, 121.6, 34.9],
  ])("reads headers only: a model of %s whose weights are a hole", async (name, shape, parameters, none, nf4) => {
    const report = await inspected(await sparseModel(name, shape));
    expect(report.model.parameters).toBe(parameters);
    expect(report.bytes).toBe(2 * parameters);
    const gibibytes = (kind: string) =>
      report.needs.byQuantization.find(({ quantization }: { quantization: string }) => quantization === kind).weights /
      2 ** 30;
    expect(gibibytes("none")).toBeCloseTo(none, 1);
    expect(gibibytes("nf4")).toBeCloseTo(nf4, 1);
  });

  it("says of an adapter its base, ranks, modules and norms", async () => {
    const modules = await folder.adapter("a", ["q_proj", "down_proj"], 3, 6);
    const report = await inspected("a");
    expect(report).toMatchObject({ kind: "PEFT adapter", state: "ok", types: { F32: 16 }, exit: 0 });
    expect(report.adapter).toMatchObject({ base: "llama-lora-cog/tiny", ranks: [3] });
    const [q] = report.adapter.modules.filter(({ name }: { name: string }) => name === "q_proj");
    expect(q).toMatchObject({ count: 4, ranks: [3], scales: [2, 2] });
    let square = 0;
    for (const { linear, a } of modules) if (linear === "q_proj") for (const value of a) square += value * value;
    expect(q.a).toBeCloseTo(Math.sqrt(square), 6);
    const text = await folder.run("inspect", "a");
    expect(text.stdout).toMatch(/q_proj +4 +3 +2 /);
  });

  it("says that an adapter is empty", async () => {
    const modules = await folder.adapter("a");
    expect(modules.length).toBe(8);
    const file = folder.file("a", "adapter_model.safetensors");
    const bytes = readFileSync(file);
    bytes.fill(0, 8 + Number(bytes.readBigUInt64LE()));
    writeFileSync(file, bytes);
    const report = await inspected("a");
    expect(report).toMatchObject({ state: "empty", exit: 0 });
    expect(report.problems[0]).toContain("it changes nothing");
  });

  it.each([
    [
      "a number that is not finite",
      (bytes: Buffer) => bytes.writeFloatLE(Number.NaN, bytes.length - 4),
      "not a finite",
    ],
    ["a file cut short", (bytes: Buffer) => bytes.subarray(0, -10), "is truncated"],
  ])("ends with 1 for an adapter with %s", async (_, damage, message) => {
    await folder.adapter("a");
    const file = folder.file("a", "adapter_model.safetensors");
    const bytes = readFileSync(file);
    const damaged = damage(bytes);
    writeFileSync(file, typeof damaged === "number" ? bytes : damaged);
    const { exit, state, ...report } = await inspected("a");
    expect(state).toBe("broken");
    expect(JSON.stringify(report)).toContain(message);
    expect(exit).toBe(1);
  });

  it("finds numbers of a model that are not finite with --values", async () => {
    cpSync(tiny, folder.file("model"), { recursive: true });
    const file = folder.file("model", "model.safetensors");
    const bytes = readFileSync(file);
    bytes.writeUInt16LE(0x7f80, bytes.length - 2);
    writeFileSync(file, bytes);
    expect((await folder.run("inspect", "model")).exit).toBe(0);
    const { exit, stdout } = await folder.run("inspect", "model", "--values");
    expect(stdout).toMatch(/tensor ".*" holds numbers that are not finite/);
    expect(exit).toBe(1);
  });

  it("knows LoRA files of other families, GGUF adapters and plain files of tensors", async () => {
    await folder.adapter("a", ["q_proj"]);
    const values = (length: number) => new Float32Array(length).fill(1);
    await writeSafetensors(folder.file("kohya.safetensors"), [
      { name: "lora_unet_x.lora_down.weight", shape: [2, 3], data: values(6) },
      { name: "lora_unet_x.lora_up.weight", shape: [4, 2], data: values(8) },
      { name: "lora_unet_x.alpha", shape: [], data: Float32Array.of(1) },
    ]);
    await writeSafetensors(folder.file("plain.safetensors"), [{ name: "x", shape: [2], data: values(2) }]);
    await folder.run("export", "a", "--base", tiny, "-o", "lora.gguf");
    const kohya = await inspected("kohya.safetensors");
    expect(kohya).toMatchObject({ kind: "LoRA file (kohya)", state: "ok" });
    // Every number of B A is 2, twelve of them; alpha / r is 1 / 2.
    expect(kohya.adapter.modules[0].product).toBeCloseTo(Math.sqrt(12), 6);
    expect(await inspected("plain.safetensors")).toMatchObject({ kind: "safetensors file", tensors: 1 });
    const gguf = await inspected("lora.gguf");
    expect(gguf).toMatchObject({ kind: "GGUF LoRA adapter", state: "ok" });
    const peft = await inspected("a");
    expect(gguf.adapter.modules[0].product).toBeCloseTo(peft.adapter.modules[0].product, 4);
  });

  it.each([
    ["what is not there", "nothing", "nothing: no such file or directory"],
    ["a text", "text.txt", "text.txt: is nothing that is known here"],
    ["an empty folder", "empty", "has no config.json"],
    ["an empty GGUF file", "empty.gguf", "empty.gguf: is truncated"],
  ])("refuses %s", async (_, path, message) => {
    writeFileSync(folder.file("text.txt"), "Hello");
    mkdirSync(folder.file("empty"));
    writeFileSync(folder.file("empty.gguf"), "");
    const { exit, stderr } = await folder.run("inspect", path);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("    at ");
    expect(exit).toBe(1);
  });
});

describe("norms of a pair", () => {
  it("are those of the product that is never made", () => {
    const a = Float32Array.from({ length: 2 * 5 }, (_, i) => Math.sin(i));
    const b = Float32Array.from({ length: 3 * 2 }, (_, i) => Math.cos(i));
    let square = 0;
    for (let i = 0; i < 3; i++)
      for (let j = 0; j < 5; j++) square += (b[2 * i]! * a[j]! + b[2 * i + 1]! * a[5 + j]!) ** 2;
    expect(pairNorms(a, b, 2).product).toBeCloseTo(Math.sqrt(square), 6);
  });
});
