import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { AdapterModule } from "../../../src/engine/engine.ts";
import { openAdapter } from "../../../src/llama/adapter/index.ts";
import {
  openCheckpoint,
  readSafetensorsHeader,
  readTensor,
  type TensorToWrite,
  writeSafetensors,
} from "../../../src/llama/checkpoint/index.ts";
import { buildCommand } from "../../cog/cli/command.ts";
import { pytorchFile } from "../checkpoint/pytorch/pytorch-fixture.ts";
import { CommandFolder, tiny } from "./command.ts";

beforeAll(buildCommand);
let folder: CommandFolder;
beforeEach(() => {
  folder = new CommandFolder();
});
afterEach(() => folder.remove());

type Module = Pick<AdapterModule, "a" | "b" | "rank" | "scale">;

/** scale * B A */
function change({ a, b, rank, scale }: Module, factor = 1): Float64Array {
  const [rows, columns] = [b.length / rank, a.length / rank];
  const product = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let k = 0; k < rank; k++)
      for (let j = 0; j < columns; j++)
        product[i * columns + j]! += factor * scale * b[i * rank + k]! * a[k * columns + j]!;
  return product;
}

function add(sum: Float64Array, other: Float64Array): void {
  for (const [i, value] of other.entries()) sum[i]! += value;
}

function largestDifference(a: Float64Array, b: Float64Array): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
}

async function modulesIn(name: string) {
  const { modules } = await openAdapter(folder.file(name), (await openCheckpoint(tiny)).config);
  return new Map(modules.map((module) => [`${module.layer} ${module.linear}`, module]));
}

describe("llama-lora combine", () => {
  it.each([
    ["cat", [], 5],
    ["svd", ["--rank", "5"], 5],
  ] as const)("writes the weighted sum of PEFT adapters with %s", async (type, rest, rank) => {
    const [a, b] = [await folder.adapter("a", ["q_proj", "v_proj"], 2), await folder.adapter("b", ["q_proj"], 3)];
    const run = type === "cat" ? folder.start.bind(folder) : folder.run.bind(folder);
    const { exit, stderr } = await run("combine", "a=0.7", "b=-0.3", "-o", "c", "--type", type, ...rest);
    expect(stderr).toContain(`Written to c: 8 modules of rank ${rank}`);
    expect(exit).toBe(0);
    const found = await modulesIn("c");
    expect(found.size).toBe(8);
    for (const module of a) {
      const key = `${module.layer} ${module.linear}`;
      const sum = change(module, 0.7);
      const other = b.find(({ layer, linear }) => `${layer} ${linear}` === key);
      if (other) add(sum, change(other, -0.3));
      expect(largestDifference(sum, change(found.get(key)!))).toBeLessThan(1e-5);
    }
  });

  it("reads adapter_model.bin as adapter_model.safetensors", async () => {
    await folder.adapter("a");
    await folder.run("combine", "a=2", "-o", "c");
    const file = folder.file("a", "adapter_model.safetensors");
    const bytes = readFileSync(file);
    const { tensors } = await readSafetensorsHeader(file);
    const pickled = [...tensors].map(([name, { shape, offset, bytes: size }]) => {
      return [name, { shape, data: bytes.subarray(offset, offset + size) }] as const;
    });
    writeFileSync(folder.file("a", "adapter_model.bin"), pytorchFile(new Map(pickled)));
    rmSync(file);
    await folder.run("combine", "a=2", "-o", "d");
    expect(readFileSync(folder.file("d", "adapter_model.safetensors"))).toEqual(
      readFileSync(folder.file("c", "adapter_model.safetensors")),
    );
  });

  it("adds A to A and B to B with linear, as PEFT does: roots of the factors, the sign on A", async () => {
    const a = await folder.adapter("a");
    const b = await folder.adapter("b");
    await folder.run("combine", "a=0.5", "b=-2", "-o", "c", "--type", "linear");
    const found = (await modulesIn("c")).get("1 v_proj")!;
    const [first, second] = [a, b].map((all) => all.find(({ layer, linear }) => layer === 1 && linear === "v_proj")!);
    const [x, y] = [Math.sqrt(0.5 * 2), Math.sqrt(2 * 2)];
    expect(found.scale).toBe(1);
    expect(found.a.every((value, i) => Math.abs(value - (x * first!.a[i]! - y * second!.a[i]!)) < 1e-6)).toBe(true);
    expect(found.b.every((value, i) => Math.abs(value - (x * first!.b[i]! + y * second!.b[i]!)) < 1e-6)).toBe(true);
  });

  it.each([
    ["kohya", "lora_unet_down.lora_down.weight", "lora_unet_down.lora_up.weight", "lora_unet_down.alpha"],
    ["diffusers", "unet.down.lora.down.weight", "unet.down.lora.up.weight", null],
    ["diffusers", "unet.attn.processor.to_q_lora.down.weight", "unet.attn.processor.to_q_lora.up.weight", null],
  ])("combines files of family %s by tensor, those of convolutions too", async (_, down, up, alpha) => {
    const values = (length: number, seed: number) => Float32Array.from({ length }, (_, i) => Math.sin(seed + i));
    const file = (name: string, seed: number, rank: number): Promise<void> => {
      const tensors: TensorToWrite[] = [
        { name: down, shape: [rank, 3, 3, 3], data: values(rank * 27, seed) },
        { name: up, shape: [5, rank, 1, 1], data: values(5 * rank, seed + 9) },
      ];
      if (alpha !== null) tensors.push({ name: alpha, shape: [], data: Float32Array.of(rank / 2) });
      return writeSafetensors(folder.file(name), tensors);
    };
    await file("one.safetensors", 1, 2);
    await file("two.safetensors", 2, 3);
    const { stderr } = await folder.run("combine", "one.safetensors=0.6", "two.safetensors", "-o", "sum.safetensors");
    expect(stderr).toContain("Written to sum.safetensors: 1 modules of rank 5");
    const { tensors } = await readSafetensorsHeader(folder.file("sum.safetensors"));
    expect([...tensors.keys()].toSorted()).toEqual([down, up, alpha].filter((name) => name !== null).toSorted());
    const read = (name: string) => readTensor({ ...tensors.get(name)!, dtype: "F32" });
    const found = { a: await read(down), b: await read(up), rank: 5, scale: 1 };
    if (alpha !== null) expect(await read(alpha)).toEqual(Float32Array.of(5));
    const scale = alpha === null ? 1 : 0.5;
    const expected = change({ a: values(54, 1), b: values(10, 10), rank: 2, scale }, 0.6);
    add(expected, change({ a: values(81, 2), b: values(15, 11), rank: 3, scale }));
    expect(largestDifference(expected, change(found))).toBeLessThan(1e-5);
    expect(tensors.get(down)!.shape).toEqual([5, 3, 3, 3]);
  });

  it.each([
    ["other ranks with linear", ["a", "b", "-o", "c", "--type", "linear"], "for adapters of one rank; these have 2, 3"],
    ["a rank where there is no choice", ["a", "b", "-o", "c", "--rank", "4"], "--rank is for --type svd"],
    ["a weight that is no number", ["a=much", "-o", "c"], "a=much: ADAPTER=WEIGHT is expected"],
    ["a type that is none", ["a", "-o", "c", "--type", "ties"], "argument 'ties' is invalid"],
    ["an adapter that is not there", ["nothing=1", "-o", "c"], "nothing: no such file or folder"],
    ["a folder with a file", ["a", "x.safetensors", "-o", "c"], "x.safetensors of family kohya"],
    ["tensors of another method", ["dora.safetensors", "-o", "c"], "belongs to DoRA, which is not supported here"],
    ["half a pair", ["half.safetensors", "-o", "c"], "has no other half"],
    ["the input as destination", ["a", "-o", "a", "--force"], "is what is read"],
    ["a folder that holds an adapter", ["a", "-o", "b"], "b: holds adapter_config.json and 1 more already"],
  ])("refuses %s and writes nothing", async (_, words, message) => {
    await folder.adapter("a");
    await folder.adapter("b", ["q_proj"], 3);
    const pair: TensorToWrite[] = [
      { name: "x.lora_down.weight", shape: [1, 2], data: new Float32Array(2) },
      { name: "x.lora_up.weight", shape: [2, 1], data: new Float32Array(2) },
    ];
    await writeSafetensors(folder.file("x.safetensors"), pair);
    await writeSafetensors(folder.file("half.safetensors"), pair.slice(1));
    const dora = { name: "x.dora_scale", shape: [2], data: new Float32Array(2) };
    await writeSafetensors(folder.file("dora.safetensors"), [...pair, dora]);
    const before = folder.files();
    const { exit, stderr } = await folder.run("combine", ...words);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("    at ");
    expect(exit).toBe(1);
    expect(folder.files()).toEqual(before);
  });

  it("refuses an adapter with a number that is not finite, and leaves nothing behind", async () => {
    await folder.adapter("a");
    const file = folder.file("a", "adapter_model.safetensors");
    const bytes = readFileSync(file);
    bytes.writeFloatLE(Number.NaN, bytes.length - 4);
    rmSync(file);
    writeFileSync(file, bytes);
    const before = folder.files();
    const { exit, stderr } = await folder.run("combine", "a", "-o", "c");
    expect(stderr).toContain("not a finite number");
    expect(exit).toBe(1);
    expect(folder.files()).toEqual(before);
  });
});
