import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TensorSource } from "../../../src/engine/engine.ts";
import { readSafetensorsHeader, readTensor, writeSafetensors } from "../../../src/llama/checkpoint/index.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "safetensors-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A file with this header text and so many zero bytes of data. */
async function fileWith(header: string | Uint8Array, dataBytes: number, headerLength?: bigint): Promise<string> {
  const json = Buffer.from(header);
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(headerLength ?? BigInt(json.length));
  const file = join(folder, "model.safetensors");
  await writeFile(file, Buffer.concat([start, json, Buffer.alloc(dataBytes)]));
  return file;
}

const f32 = (shape: number[], begin: number, end: number) =>
  JSON.stringify({ dtype: "F32", shape, data_offsets: [begin, end] });

describe("reading a safetensors header", () => {
  it("gives type, shape and place in the file of every tensor, and the metadata", async () => {
    const header = `{"__metadata__":{"format":"pt"},"b":${f32([2, 3], 0, 24)},"a":${f32([], 24, 28)}}  `;
    const file = await fileWith(header, 28);
    const { tensors, metadata } = await readSafetensorsHeader(file);
    const start = 8 + header.length;
    expect([...tensors]).toEqual([
      ["b", { file, offset: start, bytes: 24, dtype: "F32", shape: [2, 3] }],
      ["a", { file, offset: start + 24, bytes: 4, dtype: "F32", shape: [] }],
    ]);
    expect([...metadata]).toEqual([["format", "pt"]]);
  });

  it("keeps tensors whose names mean something to JavaScript", async () => {
    const file = await fileWith(`{"__proto__":${f32([1], 0, 4)},"constructor":${f32([0, 9], 4, 4)}}`, 4);
    const { tensors } = await readSafetensorsHeader(file);
    expect([...tensors.keys()]).toEqual(["__proto__", "constructor"]);
  });

  it.each([
    ["is empty", "", 0, undefined, "header is not valid"],
    ["is no object", "[]", 0, undefined, "header is not valid"],
    ["is not UTF-8", Uint8Array.of(0x7b, 0xff, 0x7d), 0, undefined, "header is not valid"],
    ["is cut off", `{"a":${f32([1], 0, 4)}`, 4, undefined, "header is not valid"],
    ["is followed by more", "{}x", 0, undefined, "more text after the end"],
    ["would be larger than any", "{}", 0, 2n ** 63n, "not a safetensors file"],
    ["is longer than the file", "{}", 0, 50n, "truncated: the header has 50 bytes, the file 10"],
    ["gives a name twice", `{"a":${f32([1], 0, 4)},"a":${f32([1], 0, 4)}}`, 4, undefined, '"a" is given twice'],
    ["gives a name twice in two spellings", '{"a":{},"\\u0061":{}}', 0, undefined, '"a" is given twice'],
    ["has an entry that is no object", '{"a":1}', 0, undefined, 'entry "a" is not an object'],
    ["has metadata that is no text", '{"__metadata__":{"n":1}}', 0, undefined, 'metadata "n" is not a string'],
    ["has an unknown dtype", `{"a":${f32([1], 0, 4).replace("F32", "F31")}}`, 4, undefined, 'dtype "F31"'],
    ["has a negative size", `{"a":${f32([-1], 0, 4)}}`, 4, undefined, '"a": shape is not a list of sizes'],
    ["has a size that is no whole number", `{"a":${f32([0.5], 0, 2)}}`, 2, undefined, "shape is not a list of sizes"],
    [
      "has an integer past 2^53",
      `{"a":${f32([1], 0, 4).replace("[1]", "[9007199254740993]")}}`,
      4,
      undefined,
      "too large",
    ],
    ["has sizes whose product overflows", `{"a":${f32([2 ** 40, 2 ** 40], 0, 4)}}`, 4, undefined, "impossible size"],
    ["has half a byte", '{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}', 1, undefined, "impossible size"],
    ["has one offset", `{"a":${f32([1], 0, 4).replace("[0,4]", "[0]")}}`, 4, undefined, "not a pair of offsets"],
    ["has offsets backwards", `{"a":${f32([1], 4, 0)}}`, 4, undefined, "takes 4 bytes, not -4"],
    ["has a range of another size", `{"a":${f32([2], 0, 4)}}`, 4, undefined, "takes 8 bytes, not 4"],
    ["has a hole", `{"a":${f32([1], 0, 4)},"b":${f32([1], 8, 12)}}`, 12, undefined, '"b" leaves a hole'],
    ["has an overlap", `{"a":${f32([2], 0, 8)},"b":${f32([1], 4, 8)}}`, 8, undefined, '"b" overlaps'],
    ["is nested without end", '{"a":'.repeat(1000), 0, undefined, "nested deeper"],
  ])("refuses a file whose header %s", async (_, header, dataBytes, length, text) => {
    const file = await fileWith(header, dataBytes, length);
    await expect(readSafetensorsHeader(file)).rejects.toMatchObject({
      code: "CHECKPOINT_CORRUPT",
      message: expect.stringContaining(text),
    });
    await expect(readSafetensorsHeader(file)).rejects.toThrow(file);
  });

  it("says how many bytes are missing from a truncated file, and how many are too many", async () => {
    const file = await fileWith(`{"a":${f32([4], 0, 16)}}`, 16);
    const whole = (await readFile(file)).length;
    await truncate(file, whole - 6);
    await expect(readSafetensorsHeader(file)).rejects.toThrow(
      `is truncated: the header describes ${whole} bytes, the file has ${whole - 6}`,
    );
    await truncate(file, whole + 1);
    await expect(readSafetensorsHeader(file)).rejects.toThrow(
      `${whole} bytes are described, the file has ${whole + 1}`,
    );
    await truncate(file, 5);
    await expect(readSafetensorsHeader(file)).rejects.toThrow("has 5 bytes");
  });

  it("recognises a Git LFS pointer and a web page", async () => {
    const file = join(folder, "model.safetensors");
    await writeFile(file, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    await expect(readSafetensorsHeader(file)).rejects.toThrow("Git LFS pointer");
    await writeFile(file, "<!DOCTYPE html><html></html>");
    await expect(readSafetensorsHeader(file)).rejects.toThrow("web page");
  });

  it("reports a missing file, with the codes of the caller", async () => {
    const file = join(folder, "none.safetensors");
    await expect(readSafetensorsHeader(file)).rejects.toMatchObject({ code: "CHECKPOINT_NOT_FOUND" });
    const codes = { missing: "ADAPTER_NOT_FOUND", corrupt: "ADAPTER_CORRUPT" } as const;
    await expect(readSafetensorsHeader(file, codes)).rejects.toMatchObject({ code: "ADAPTER_NOT_FOUND" });
    await expect(readSafetensorsHeader(await fileWith("{", 0), codes)).rejects.toMatchObject({
      code: "ADAPTER_CORRUPT",
    });
  });
});

describe("writing safetensors", () => {
  // 65504 is the largest float16; 2^-24 its smallest; 1 + 2^-11 and 1 + 3 * 2^-11 lie half-way and go to the even one.
  const values = Float32Array.of(
    0,
    -0,
    1,
    -2.5,
    65504,
    2 ** -24,
    1 + 2 ** -11,
    1 + 3 * 2 ** -11,
    Number.POSITIVE_INFINITY,
  );

  async function readBack(file: string, name: string): Promise<Float32Array> {
    const { tensors } = await readSafetensorsHeader(file);
    return readTensor(tensors.get(name) as TensorSource);
  }

  it("puts wide types first, then names in order, data from a multiple of 8", async () => {
    const file = join(folder, "order.safetensors");
    const tensor = (name: string, dtype: "F32" | "F16" | "BF16") => ({
      name,
      dtype,
      shape: [1],
      data: Float32Array.of(1),
    });
    const given = [tensor("z", "F32"), tensor("b", "F16"), tensor("c", "BF16"), tensor("a", "F32"), tensor("B", "F32")];
    await writeSafetensors(file, given);
    const { tensors } = await readSafetensorsHeader(file);
    const sorted = [...tensors].sort(([, a], [, b]) => a.offset - b.offset);
    expect(sorted.map(([name]) => name)).toEqual(["B", "a", "z", "c", "b"]);
    expect(sorted[0]![1].offset % 8).toBe(0);
  });

  it("gives float32 back bit for bit, and narrow types as the nearest value", async () => {
    const file = join(folder, "values.safetensors");
    const shape = [3, 3];
    await writeSafetensors(file, [
      { name: "f32", shape, data: values },
      { name: "f16", shape, data: values, dtype: "F16" },
      { name: "bf16", shape, data: values, dtype: "BF16" },
    ]);
    expect(await readBack(file, "f32")).toEqual(values);
    expect(await readBack(file, "f16")).toEqual(
      Float32Array.of(0, -0, 1, -2.5, 65504, 2 ** -24, 1, 1 + 2 ** -9, Number.POSITIVE_INFINITY),
    );
    expect(await readBack(file, "bf16")).toEqual(
      Float32Array.of(0, -0, 1, -2.5, 65536, 2 ** -24, 1, 1, Number.POSITIVE_INFINITY),
    );
  });

  it("widens and narrows every float16 without a change", async () => {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((half) => (half & 0x7c00) !== 0x7c00);
    const file = await fileWith(
      JSON.stringify({ a: { dtype: "F16", shape: [bits.length], data_offsets: [0, bits.length * 2] } }),
      0,
    );
    await writeFile(file, Buffer.from(bits.buffer, bits.byteOffset, bits.byteLength), { flag: "a" });
    const data = await readBack(file, "a");
    const copy = join(folder, "copy.safetensors");
    await writeSafetensors(copy, [{ name: "a", shape: [bits.length], data, dtype: "F16" }]);
    const again = await readFile(copy);
    expect(again.subarray(again.length - bits.byteLength).equals(Buffer.from(bits.buffer, 0, bits.byteLength))).toBe(
      true,
    );
  });

  it("leaves what was there, and nothing else, when it fails", async () => {
    const target = await mkdtemp(join(folder, "failing-"));
    const file = join(target, "model.safetensors");
    await writeSafetensors(file, [{ name: "a", shape: [1], data: Float32Array.of(7) }]);
    let reads = 0;
    const broken = {
      name: "b",
      shape: [1],
      // The header takes the data's length first; the failure comes when they are written.
      get data(): Float32Array {
        if (reads++ > 0) throw new Error("disk on fire");
        return Float32Array.of(1);
      },
    };
    await expect(writeSafetensors(file, [broken])).rejects.toThrow("disk on fire");
    expect(await readdir(target)).toEqual(["model.safetensors"]);
    expect(await readBack(file, "a")).toEqual(Float32Array.of(7));
  });

  it("refuses data that do not fill the shape and names given twice", async () => {
    const file = join(folder, "refused.safetensors");
    const a = { name: "a", shape: [2], data: Float32Array.of(1) };
    await expect(writeSafetensors(file, [a])).rejects.toThrow('tensor "a": 1 values for shape [2]');
    await expect(
      writeSafetensors(file, [
        { ...a, shape: [1] },
        { ...a, shape: [1] },
      ]),
    ).rejects.toThrow("given twice");
  });
});
