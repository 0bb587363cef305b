import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openCheckpoint, readTensor, writeSafetensors } from "../../../src/llama/checkpoint/index.ts";
import { chooseCheckpoint } from "../../../src/llama/checkpoint/locate.ts";
import { referenceData } from "../../reference-data.mjs";
import { CommandFolder, tiny } from "./command.ts";

let folder: CommandFolder;
beforeEach(() => {
  folder = new CommandFolder();
});
afterEach(() => folder.remove());

async function valuesOf(place: string): Promise<Map<string, Float32Array>> {
  const { weights } = await openCheckpoint(place);
  const values = new Map<string, Float32Array>();
  for (const [name, source] of weights.tensors) values.set(name, await readTensor(source));
  return values;
}

describe("llama-lora convert", () => {
  it.each(["f32", "f16", "bf16"])("writes a checkpoint as %s", async (dtype) => {
    const { exit, stderr } = await folder.run("convert", tiny, "out", "--dtype", dtype);
    expect(stderr).toContain("Written to out");
    expect(exit).toBe(0);
    const [before, after] = [await valuesOf(tiny), await valuesOf(folder.file("out"))];
    // Ten bits of fraction; smaller numbers are rounded to multiples of 2^-24.
    const most = dtype === "f16" ? (value: number) => Math.max(2 ** -25, Math.abs(value) * 2 ** -11) : () => 0;
    for (const [name, values] of before) {
      const found = after.get(name)!;
      expect(found.every((value, i) => Math.abs(value - values[i]!) <= most(values[i]!))).toBe(true);
    }
    const { torch_dtype } = JSON.parse(readFileSync(folder.file("out", "config.json"), "utf8"));
    expect(torch_dtype).toBe({ f32: "float32", f16: "float16", bf16: "bfloat16" }[dtype]);
  });

  it("puts a model into weights/ beside the embedded one, where it is found first", async () => {
    mkdirSync(folder.file("weights"));
    cpSync(tiny, folder.file("weights", "tiny"), { recursive: true });
    writeFileSync(folder.file("weights", "README.md"), "mine");
    const before = readFileSync(folder.file("weights", "tiny", "model.safetensors"));
    expect((await folder.run("convert", tiny, "weights")).exit).toBe(0);
    expect(readFileSync(folder.file("weights", "tiny", "model.safetensors")).equals(before)).toBe(true);
    expect(readFileSync(folder.file("weights", "README.md"), "utf8")).toBe("mine");
    expect(await chooseCheckpoint({}, folder.file("weights"))).toBe(folder.file("weights"));
    const again = await folder.run("convert", tiny, "weights");
    expect(again.stderr).toContain("weights: holds config.json and 4 more already");
    expect(again.exit).toBe(1);
  });

  it("takes away with --force the shards of the model that was there", async () => {
    mkdirSync(folder.file("out"));
    for (const name of ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json"]) {
      writeFileSync(folder.file("out", name), "{}");
    }
    expect((await folder.run("convert", tiny, "out")).exit).toBe(1);
    expect((await folder.run("convert", tiny, "out", "--force")).exit).toBe(0);
    expect(readdirSync(folder.file("out"))).not.toContain("model-00001-of-00002.safetensors");
    await openCheckpoint(folder.file("out"));
  });

  it("writes nothing where a tensor ends too early", async () => {
    cpSync(tiny, folder.file("in"), { recursive: true });
    const file = folder.file("in", "model.safetensors");
    writeFileSync(file, readFileSync(file).subarray(0, -1000));
    const before = folder.files();
    const { exit, stderr } = await folder.run("convert", "in", "out");
    expect(stderr).toContain("CHECKPOINT_CORRUPT");
    expect(exit).toBe(1);
    expect(folder.files()).toEqual(before);
  });

  it("writes nothing where there is no model", async () => {
    mkdirSync(folder.file("in"));
    await writeSafetensors(folder.file("in", "model.safetensors"), []);
    const before = folder.files();
    const { exit, stderr } = await folder.run("convert", "in", "out");
    expect(stderr).toContain("has model.safetensors, but no config.json");
    expect(exit).toBe(1);
    expect(folder.files()).toEqual(before);
  });
});

describe("converting GGUF", () => {
  it("gives the model and the tokenizer that it was exported from", async () => {
    expect((await folder.run("export", tiny, "-o", "tiny.gguf", "--type", "bf16")).exit).toBe(0);
    const { exit, stderr } = await folder.run("convert", "tiny.gguf", "out", "--dtype", "bf16");
    expect(stderr).toContain("Written to out");
    expect(exit).toBe(0);
    const [before, after] = [await openCheckpoint(tiny), await openCheckpoint(folder.file("out"))];
    expect(after.config).toEqual(before.config);
    expect(after.eosTokenIds).toEqual(before.eosTokenIds);
    for (const text of ["The dog runs to Anna's house.", "  两 只狗\n", "<s>"]) {
      expect(after.tokenizer.encode(text)).toEqual(before.tokenizer.encode(text));
    }
    for (const [name, source] of before.weights.tensors) {
      const [found, expected] = [await readTensor(after.weights.tensors.get(name)!), await readTensor(source)];
      expect(found.every((value, i) => value === expected[i])).toBe(true);
    }
  });
});

const data = join(referenceData, "data", "stories260k");

describe.skipIf(!existsSync(data))("converting Meta's files", () => {
  it.each([1, 2])("of %i shards gives the Hugging Face folder, bit for bit", async (shards) => {
    mkdirSync(folder.file("unconverted-weights"));
    cpSync(join(data, `meta-${shards}-shard`), folder.file("unconverted-weights", "7B"), { recursive: true });
    cpSync(join(data, "tokenizer.model"), folder.file("unconverted-weights", "tokenizer.model"));
    const { exit, stderr } = await folder.run("convert", "unconverted-weights", "weights");
    expect(stderr).toContain("Written to weights");
    expect(exit).toBe(0);
    const [expected, found] = [await valuesOf(join(data, "hf")), await valuesOf(folder.file("weights"))];
    expect([...found.keys()]).toEqual([...expected.keys()]);
    for (const [name, values] of found) {
      // Meta's files are in float16.
      expect(values.every((value, i) => value === half(expected.get(name)![i]!))).toBe(true);
    }
  });
});

/** The nearest number with eleven bits, of one that is not tiny. */
function half(value: number): number {
  if (value === 0) return value;
  const step = 2 ** Math.max(-24, Math.floor(Math.log2(Math.abs(value))) - 10);
  const [below, rest] = [Math.floor(value / step), value / step - Math.floor(value / step)];
  return (rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below) * step;
}
