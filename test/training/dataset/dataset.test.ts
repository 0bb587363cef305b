import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { readDataset } from "../../../src/training/dataset/index.ts";
import { tarball } from "../../llama/tarball.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "dataset-test-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(content: string | Buffer, name = "data.json"): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const rows = [
  { instruction: "Name a colour", input: "", output: "Red" },
  { instruction: 'Say "é漢🦙" {[', input: "in\\quotes\\\\", output: "ok ]}" },
  { instruction: "No answer", input: "x", output: "" },
];
const content = async (path: string) => (await readDataset(path)).rows.map(({ source: _, ...row }) => row);

describe("readDataset", () => {
  it.each([
    ["a JSON array", JSON.stringify(rows)],
    ["an indented JSON array with CRLF", JSON.stringify(rows, null, 2).replaceAll("\n", "\r\n")],
    ["a byte order mark", `\ufeff\n${JSON.stringify(rows)}\n`],
    ["JSONL", rows.map((row) => JSON.stringify(row)).join("\n")],
    [
      "JSONL with CRLF, blank lines and a byte order mark",
      `\ufeff\r\n${rows.map((row) => JSON.stringify(row)).join("\r\n\r\n")}\r\n`,
    ],
  ])("reads %s", async (_, text) => {
    expect(await content(file(text))).toEqual(rows);
  });

  it("reads a JSON array or JSONL inside a tarball, compressed or not, whatever its name", async () => {
    for (const [inside, text] of [
      ["set/data.json", JSON.stringify(rows)],
      ["data.jsonl", rows.map((row) => JSON.stringify(row)).join("\n")],
      ["data", JSON.stringify(rows)],
    ] as const) {
      const tar = tarball([
        { path: inside, body: text },
        { path: "._data.json", body: "finder" },
      ]);
      expect(await content(file(tar, "plain.bin"))).toEqual(rows);
      expect(await content(file(gzipSync(tar), "data.json"))).toEqual(rows);
    }
  });

  it("gives records that lie across the borders of what is read at once", async () => {
    const long = Array.from({ length: 40 }, (_, i) => ({
      instruction: `${i}`,
      input: "",
      output: "漢".repeat(i * 1000),
    }));
    expect(await content(file(JSON.stringify(long)))).toEqual(long);
    expect(await content(file(long.map((row) => JSON.stringify(row)).join("\n")))).toEqual(long);
  });

  it("takes a missing or null input as empty and ignores other keys", async () => {
    const text = `[{"instruction":"a","output":"b","__proto__":{"input":"no"},"id":7},{"instruction":"c","input":null,"output":"d"}]`;
    expect(await content(file(text))).toEqual([
      { instruction: "a", input: "", output: "b" },
      { instruction: "c", input: "", output: "d" },
    ]);
  });

  it("says where each row was found", async () => {
    const [, second] = (await readDataset(file(JSON.stringify(rows)))).rows;
    expect(second!.source).toEqual({ file: "data.json", number: 2, unit: "record", line: 1 });
    const { rows: lines } = await readDataset(
      file(`\n${rows.map((row) => JSON.stringify(row)).join("\n\n")}`, "data.jsonl"),
    );
    expect(lines.map(({ source }) => source.number)).toEqual([2, 4, 6]);
    const { rows: packed } = await readDataset(
      file(tarball([{ path: "a/b.json", body: JSON.stringify(rows) }]), "x.tar"),
    );
    expect(packed[0]!.source.file).toBe("x.tar/a/b.json");
  });
});

describe("a data set that is wrong", () => {
  it.each([
    [
      '[{"instruction":"a","output":"b"},{"instruction":"a","input":"","output":"b"},{"instruction":"c"}]',
      "DATASET_ROW_FIELD",
      'data.json, record 3: field "output" is missing',
    ],
    [
      '[{"instruction":"a","output":["b"]}]',
      "DATASET_ROW_FIELD",
      'data.json, record 1: field "output" must be a string, found array',
    ],
    [
      '[{"instruction":null,"output":"b"}]',
      "DATASET_ROW_FIELD",
      'data.json, record 1: field "instruction" must be a string, found null',
    ],
    [
      '{"instruction":"a","output":"b"}\n\n{"output":"b"}',
      "DATASET_ROW_FIELD",
      'data.json, line 3: field "instruction" is missing',
    ],
    ['[["a"]]', "DATASET_ROW_FIELD", "data.json, record 1: must be an object, found array"],
    ['{"instruction":"a","output":"b"}\n{"instruction"', "DATASET_FORMAT", "data.json, line 2: is not valid JSON"],
    [
      '[{"instruction":"a","output":"b"},{"instruction":"a" "output":"b"}]',
      "DATASET_FORMAT",
      "data.json, record 2: is not valid JSON",
    ],
    [
      '[{"instruction":"a","output":"b"},]',
      "DATASET_FORMAT",
      'data.json: after record 1 comes "]" where an object is expected',
    ],
    ['[{"instruction":"a","output":"b"}]]', "DATASET_FORMAT", "where the end of the file is expected"],
    ["[1]", "DATASET_FORMAT", 'comes "1"'],
    ['[{"instruction":"a","output":"b"},{"instr', "DATASET_FORMAT", "data.json, record 2: the file ends inside it"],
    ["A text.\nAnother one.", "DATASET_FORMAT", "starts neither with [ nor with {"],
    ["[]", "DATASET_EMPTY", "data.json: holds no rows"],
    ["", "DATASET_EMPTY", "data.json: holds no rows"],
    ["PK\u0003\u0004 and so on", "DATASET_FORMAT", "a zip archive's directory is missing"],
  ])("%s", async (text, code, message) => {
    await expect(readDataset(file(text))).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it("names the record whose text is not UTF-8", async () => {
    const bytes = Buffer.concat([
      Buffer.from('[{"instruction":"'),
      Buffer.from([0xff]),
      Buffer.from('","output":""}]'),
    ]);
    await expect(readDataset(file(bytes))).rejects.toMatchObject({
      code: "DATASET_FORMAT",
      message: "data.json, record 1: is not valid UTF-8 at byte 17 (0xff)",
    });
  });

  it("says when the file does not exist", async () => {
    await expect(readDataset(join(folder, "none.json"))).rejects.toMatchObject({ code: "DATASET_NOT_FOUND" });
  });

  it("uses the name it is given in its messages", async () => {
    await expect(readDataset(file("[]"), { name: "mine.json" })).rejects.toThrow("mine.json: holds no rows");
  });

  it("stops at an abort", async () => {
    const path = file(JSON.stringify(rows));
    await expect(readDataset(path, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("a data set that costs more than it may", () => {
  const bytes = (most: string) => vi.stubEnv("LLAMA_DATASET_BYTES", most);
  afterEach(() => vi.unstubAllEnvs());
  const text = JSON.stringify(rows);

  it("is refused by its bytes, alone and packed, naming the variable", async () => {
    bytes(`${Buffer.byteLength(text)}`);
    const packed = gzipSync(tarball([{ path: "data.json", body: text }]));
    expect(await content(file(text))).toEqual(rows);
    expect(await content(file(packed))).toEqual(rows);
    bytes(`${Buffer.byteLength(text) - 1}`);
    await expect(content(file(text))).rejects.toMatchObject({
      code: "DATASET_FORMAT",
      hint: expect.stringContaining("LLAMA_DATASET_BYTES"),
    });
    await expect(content(file(packed))).rejects.toMatchObject({
      code: "ARCHIVE_UNSAFE",
      message: expect.stringContaining("LLAMA_DATASET_BYTES"),
    });
    bytes("many");
    await expect(content(file(text))).rejects.toMatchObject({ code: "ENGINE_ARGUMENT" });
  });

  it("is refused for a row that nests deeply or holds too many values", async () => {
    for (const [extra, why] of [
      ["[".repeat(100) + "]".repeat(100), "nested deeper than 64 levels"],
      [`[${"0,".repeat(10_000)}0]`, "more than 10000 values"],
    ]) {
      const row = `{"instruction":"a","output":"b","extra":${extra}}`;
      const failure = { code: "DATASET_FORMAT", message: expect.stringContaining(why!) };
      await expect(content(file(`[${row}]`))).rejects.toMatchObject(failure);
      await expect(content(file(row))).rejects.toMatchObject(failure);
    }
  });
});
