import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readGgufHeader } from "../../../../src/llama/checkpoint/gguf/header.ts";
import { type GgufFile, ggufBytes, scalar, type TensorToWrite, text, type Value } from "./gguf-file.ts";

const folder = mkdtempSync(join(tmpdir(), "gguf-header-"));
const file = join(folder, "model.gguf");
afterAll(() => rmSync(folder, { recursive: true }));

const metadata: readonly (readonly [string, Value])[] = [["general.architecture", ["string", "llama"]]];
const matrix: TensorToWrite = { name: "a", shape: [3, 32], type: "Q8_0", bytes: new Uint8Array(102) };

const read = (content: Uint8Array) => {
  writeFileSync(file, content);
  return readGgufHeader(file);
};
const refusal = (content: Uint8Array) => read(content).catch((error: unknown) => error);
const gguf = (changes: Partial<GgufFile> = {}) => ggufBytes({ metadata, tensors: [matrix], ...changes });

describe("the header of a GGUF file", () => {
  it.each([2, 3])("of version %i gives values of every type and tensors with their place", async (version) => {
    const values: [string, Value, unknown][] = [
      ["u8", ["u8", 255], 255],
      ["i8", ["i8", -1], -1],
      ["u16", ["u16", 65535], 65535],
      ["i16", ["i16", -2], -2],
      ["u32", ["u32", 4294967295], 4294967295],
      ["i32", ["i32", -3], -3],
      ["f32", ["f32", 0.5], 0.5],
      ["bool", ["bool", 1], true],
      ["string", ["string", "Käse 🧀"], "Käse 🧀"],
      ["u64", ["u64", 2n ** 40n], 2 ** 40],
      ["i64", ["i64", -5n], -5],
      ["f64", ["f64", 1 / 3], 1 / 3],
      ["texts", ["array", "string", ["a", ""]], ["a", ""]],
      ["numbers", ["array", "i32", [1, -1]], Int32Array.of(1, -1)],
      ["flags", ["array", "bool", [1, 0]], Uint8Array.of(1, 0)],
      ["__proto__", ["u32", 7], 7],
    ];
    const content = gguf({ version, metadata: values.map(([key, value]) => [key, value]) });
    const header = await read(content);
    expect([...header.metadata]).toEqual(values.map(([key, , value]) => [key, value]));
    expect(header.tensors.get("a")).toEqual({
      file,
      offset: content.length - 128,
      bytes: 102,
      dtype: "Q8_0",
      shape: [3, 32],
    });
  });

  it("goes on beyond what is read at first", async () => {
    const tokens = Array.from({ length: 60_000 }, (_, i) => `token number ${i} of the vocabulary`);
    const header = await read(gguf({ metadata: [["tokens", ["array", "string", tokens]]] }));
    expect(header.metadata.get("tokens")).toEqual(tokens);
  });

  it("puts tensors at multiples of general.alignment", async () => {
    const second = { ...matrix, name: "b" };
    const content = gguf({ metadata: [["general.alignment", ["u32", 64]]], tensors: [matrix, second], alignment: 64 });
    const { tensors } = await read(content);
    expect([...tensors.values()].map(({ offset }) => content.length - offset)).toEqual([256, 128]);
  });

  it("describes types that cannot be loaded", async () => {
    const { tensors } = await read(
      gguf({ tensors: [{ name: "a", shape: [256], type: "IQ4_XS", bytes: new Uint8Array(136) }] }),
    );
    expect(tensors.get("a")).toMatchObject({ dtype: "IQ4_XS", bytes: 136 });
  });
});

describe("a GGUF file that is refused", () => {
  it.each([
    ["is of version 1", gguf({ version: 1 }), "CHECKPOINT_UNSUPPORTED", "has version 1 of GGUF"],
    ["is of a later version", gguf({ version: 4 }), "CHECKPOINT_UNSUPPORTED", "has version 4 of GGUF"],
    ["is big-endian", gguf({ version: 0x03000000 }), "CHECKPOINT_UNSUPPORTED", "is a big-endian GGUF file"],
    ["is no GGUF file", Buffer.from("GGML-and-more-bytes-than-eight"), "CHECKPOINT_CORRUPT", "is not a GGUF file"],
    ["is empty", Buffer.alloc(0), "CHECKPOINT_CORRUPT", "is truncated"],
    ["is an error page", Buffer.from("<!DOCTYPE html><html></html>"), "CHECKPOINT_CORRUPT", "web page"],
    ["ends in its header", gguf().subarray(0, 70), "CHECKPOINT_CORRUPT", "is truncated"],
    ["ends in its data", gguf().subarray(0, -60), "CHECKPOINT_CORRUPT", 'tensor "a" ends at byte'],
    [
      "has a key twice",
      gguf({ metadata: [...metadata, ...metadata] }),
      "CHECKPOINT_CORRUPT",
      'metadata key "general.architecture" is given twice',
    ],
    ["has a tensor twice", gguf({ tensors: [matrix, matrix] }), "CHECKPOINT_CORRUPT", 'tensor "a" is given twice'],
    [
      "has tensors on each other",
      gguf({ tensors: [matrix, { ...matrix, name: "b", offset: 64 }] }),
      "CHECKPOINT_CORRUPT",
      'tensor "b" overlaps tensor "a"',
    ],
    [
      "has a tensor outside",
      gguf({ tensors: [{ ...matrix, offset: 2n ** 62n }] }),
      "CHECKPOINT_CORRUPT",
      "the offset is 4611686018427387904",
    ],
    [
      "has a tensor beside the alignment",
      gguf({ tensors: [{ ...matrix, offset: 8 }] }),
      "CHECKPOINT_CORRUPT",
      "begins at 8, which is no multiple of 32",
    ],
    [
      "has a tensor that is too large",
      gguf({ tensors: [{ ...matrix, shape: [2n ** 52n, 2n ** 52n] }] }),
      "CHECKPOINT_CORRUPT",
      "has an impossible size",
    ],
    [
      "has rows that are not whole blocks",
      gguf({ tensors: [{ ...matrix, shape: [32, 3] }] }),
      "CHECKPOINT_CORRUPT",
      "rows of 3, which are not whole blocks of Q8_0",
    ],
    [
      "has five dimensions",
      gguf({ tensors: [{ ...matrix, shape: [1, 1, 1, 1, 32] }] }),
      "CHECKPOINT_CORRUPT",
      "has 5 dimensions",
    ],
    [
      "has a type that nobody knows",
      gguf({ tensors: [{ ...matrix, type: "4" }] }),
      "CHECKPOINT_CORRUPT",
      'tensor "a": has type 4',
    ],
    [
      "is aligned to an odd number",
      gguf({ metadata: [["general.alignment", ["u32", 48]]] }),
      "CHECKPOINT_CORRUPT",
      "general.alignment is 48",
    ],
  ])("%s", async (_, content, code, message) => {
    expect(await refusal(content)).toMatchObject({ code, message: expect.stringContaining(message) });
    expect(await refusal(content)).toMatchObject({ message: expect.stringContaining(file) });
  });
});

describe("a hostile GGUF file", () => {
  const start = (tensors: bigint, keys: bigint) =>
    Buffer.concat([Buffer.from("GGUF"), scalar("u32", 3), scalar("u64", tensors), scalar("u64", keys)]);
  const array = (type: number, length: bigint) =>
    Buffer.concat([start(0n, 1n), text("k"), scalar("u32", 9), scalar("u32", type), scalar("u64", length)]);

  it.each([
    ["promises 2^63 tensors", start(2n ** 63n, 0n), "the number of tensors"],
    ["promises 2^63 keys", start(0n, 2n ** 63n), "the number of metadata keys"],
    [
      "has a key of 2^63 bytes",
      Buffer.concat([start(0n, 1n), scalar("u64", 2n ** 63n)]),
      "the length of a metadata key",
    ],
    [
      "has a text of 2^63 bytes",
      Buffer.concat([start(0n, 1n), text("k"), scalar("u32", 8), scalar("u64", 2n ** 63n)]),
      "a string's length",
    ],
    ["has a list of 2^63 texts", array(8, 2n ** 63n), "an array's length"],
    ["has a list of 2^63 numbers", array(12, 2n ** 63n), "an array's length"],
    ["has a list of lists", array(9, 1n), "an array of arrays"],
    ["has a value of a type that nobody knows", array(13, 1n), "value type 13"],
    ["promises a list that the file has no room for", array(12, 2n ** 24n), "is truncated"],
  ])("that %s is refused at once", async (_, content, message) => {
    const before = process.memoryUsage().rss;
    expect(await refusal(content)).toMatchObject({
      code: "CHECKPOINT_CORRUPT",
      message: expect.stringContaining(message),
    });
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 28);
  });

  it("that is all header is read to a limit", async () => {
    writeFileSync(file, array(8, 2n ** 24n));
    // A hole: texts of no bytes.
    truncateSync(file, 2 ** 30);
    const before = process.memoryUsage().rss;
    expect(await readGgufHeader(file).catch((error: unknown) => error)).toMatchObject({
      code: "CHECKPOINT_CORRUPT",
      message: expect.stringContaining("header has more than"),
    });
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 29);
  });
});
