import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { linearPath, linearShape } from "../../../src/engine/config.ts";
import { openCheckpoint, readTensor } from "../../../src/llama/checkpoint/index.ts";
import { buildCommand } from "../../cog/cli/command.ts";
import { CommandFolder, tiny } from "./command.ts";

beforeAll(buildCommand);
let folder: CommandFolder;
beforeEach(() => {
  folder = new CommandFolder();
});
afterEach(() => folder.remove());

describe("llama-lora merge", () => {
  it("adds scale B A of every adapter to the weights, and rounds once", async () => {
    const a = await folder.adapter("a");
    const b = await folder.adapter("b", ["q_proj", "down_proj"], 3, 3);
    const { exit, stderr } = await folder.start(
      ...["merge", tiny, "a", "b", "-o", "merged", "--scale", "0.5", "--scale", "-2", "--dtype", "f32"],
    );
    expect(stderr).toContain("Written to merged");
    expect(exit).toBe(0);
    const [base, merged] = [await openCheckpoint(tiny), await openCheckpoint(folder.file("merged"))];
    expect(merged.config).toEqual(base.config);
    for (const [name, source] of base.weights.tensors) {
      const expected = Float64Array.from(await readTensor(source));
      for (const { module, factor } of [
        ...a.map((module) => ({ module, factor: 0.5 })),
        ...b.map((module) => ({ module, factor: -2 })),
      ]) {
        if (`${linearPath(module.layer, module.linear)}.weight` !== name) continue;
        const [out, input] = linearShape(base.config, module.linear);
        for (let i = 0; i < out; i++)
          for (let j = 0; j < input; j++) {
            for (let k = 0; k < module.rank; k++) {
              expected[i * input + j]! +=
                factor * module.scale * module.b[i * module.rank + k]! * module.a[k * input + j]!;
            }
          }
      }
      // Sums in another order: a unit of the last place of float32.
      const found = await readTensor(merged.weights.tensors.get(name)!);
      expect(found.every((value, i) => Math.abs(value - expected[i]!) <= 2e-7 * Math.max(1, Math.abs(value)))).toBe(
        true,
      );
    }
  });

  it("keeps the base's type and tokenizer", async () => {
    await folder.adapter("a");
    await folder.run("merge", tiny, "a", "-o", "merged");
    expect(folder.files().filter((name) => name.startsWith("merged"))).toEqual([
      "merged/config.json",
      "merged/generation_config.json",
      "merged/model.safetensors",
      "merged/tokenizer.model",
      "merged/tokenizer_config.json",
    ]);
    expect(JSON.parse(readFileSync(folder.file("merged", "config.json"), "utf8")).torch_dtype).toBe("bfloat16");
    const { weights } = await openCheckpoint(folder.file("merged"));
    expect(new Set([...weights.tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(["BF16"]));
  });

  it("does not write over a model without --force", async () => {
    await folder.adapter("a");
    await folder.run("merge", tiny, "a", "-o", "merged");
    const before = readFileSync(folder.file("merged", "model.safetensors"));
    const words = ["merge", tiny, "a", "-o", "merged", "--scale", "3"];
    const refused = await folder.run(...words);
    expect(refused.stderr).toContain("merged: holds config.json and 4 more already");
    expect(refused.stderr).toContain("--force");
    expect(refused.exit).toBe(1);
    expect(readFileSync(folder.file("merged", "model.safetensors")).equals(before)).toBe(true);
    expect((await folder.run(...words, "--force")).exit).toBe(0);
    expect(readFileSync(folder.file("merged", "model.safetensors")).equals(before)).toBe(false);
  });

  it.each([
    ["no adapter", ["merge", tiny, "-o", "x"], "missing required argument 'adapter'"],
    ["no destination", ["merge", tiny, "a"], "required option '-o, --output <folder>' not specified"],
    [
      "a scale too few",
      ["merge", tiny, "a", "a", "-o", "x", "--scale", "1"],
      "--scale is given 1 times for 2 adapters",
    ],
    ["a scale that is no number", ["merge", tiny, "a", "-o", "x", "--scale", "much"], "a number is expected"],
    ["a type that is none", ["merge", tiny, "a", "-o", "x", "--dtype", "int3"], "f32, f16 or bf16 is expected"],
    ["a base that is not there", ["merge", "nowhere", "a", "-o", "x"], "nowhere: there is no such folder"],
    ["an adapter that is not there", ["merge", tiny, "nothing", "-o", "x"], "nothing: no such file or folder"],
    ["a folder that is not there", ["merge", tiny, "a", "-o", "no/where"], "no/where: cannot be written: no such file"],
    ["the base as destination", ["merge", tiny, "a", "-o", tiny, "--force"], "is what is read; write to another place"],
  ])("refuses %s and writes nothing", async (_, words, message) => {
    await folder.adapter("a");
    const before = folder.files();
    const { exit, stderr } = await folder.run(...words);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("    at ");
    expect(exit).toBe(1);
    expect(folder.files()).toEqual(before);
  });

  it("leaves nothing behind when an adapter is damaged", async () => {
    await folder.adapter("a");
    const file = folder.file("a", "adapter_model.safetensors");
    writeFileSync(file, readFileSync(file).subarray(0, -10));
    const before = folder.files();
    const { exit, stderr } = await folder.run("merge", tiny, "a", "-o", "merged");
    expect(stderr).toContain("ADAPTER_CORRUPT");
    expect(exit).toBe(1);
    expect(folder.files()).toEqual(before);
  });
});
