import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeSource, readDataset } from "../../../src/training/dataset/index.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "dataset-formats-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function read(content: string | Buffer) {
  const path = join(folder, "data");
  writeFileSync(path, content);
  const { rows, summary } = await readDataset(path);
  const places = rows.map(({ source }) => describeSource(source));
  return { rows: rows.map(({ source: _, ...row }) => row), places, notes: summary.notes };
}

const rows = [
  { instruction: "Name a colour", input: "", output: "Red" },
  { instruction: 'Say "é漢🦙", {[', input: "in\\quotes\\\\\n", output: "ok ]}" },
];
const json = rows.map((row) => JSON.stringify(row));
const csv = (delimiter: string) =>
  [
    ["instruction", "input", "output"],
    ...rows.map((row) => Object.values(row).map((cell) => `"${cell.replaceAll('"', '""')}"`)),
  ]
    .map((cells) => cells.join(delimiter))
    .join("\r\n");

describe("a file of rows", () => {
  it.each<[string, string, string[]]>([
    ["JSONL whose lines end in commas", `${json.join(",\n")},\n`, ["data, line 1", "data, line 2"]],
    [
      "objects on several lines",
      rows.map((row) => JSON.stringify(row, null, 2)).join("\n"),
      ["data, record 1", "data, record 2 (line 6)"],
    ],
    ["objects on one line", json.join(" "), ["data, record 1", "data, record 2"]],
    [
      "a list within an object",
      `{"version": "1",\n"data": [\n${json.join(",\n")}],\n"more": {"x": [1]}}`,
      ["data, record 1 (line 3)", "data, record 2 (line 4)"],
    ],
    ["a list under any name alone", `{"alpaca": [${json}]}`, ["data, record 1", "data, record 2"]],
    ["CSV", csv(","), ["data, record 1 (line 2)", "data, record 2 (line 3)"]],
    ["TSV", csv("\t"), ["data, record 1 (line 2)", "data, record 2 (line 3)"]],
    ["CSV with semicolons", `\ufeff${csv(";")}\r\n`, ["data, record 1 (line 2)", "data, record 2 (line 3)"]],
  ])("is told by its bytes, and each row's place is known: %s", async (_, text, places) => {
    const found = await read(text);
    expect(found.rows).toEqual(rows);
    expect(found.places).toEqual(places);
  });

  it.each<[string, (text: string) => Buffer]>([
    ["UTF-16 LE with its mark", (text) => Buffer.from(`\ufeff${text}`, "utf16le")],
    ["UTF-16 LE", (text) => Buffer.from(text, "utf16le")],
    ["UTF-16 BE with its mark", (text) => Buffer.from(`\ufeff${text}`, "utf16le").swap16()],
    ["UTF-16 BE", (text) => Buffer.from(text, "utf16le").swap16()],
  ])("may be in %s", async (_, encoded) => {
    expect((await read(encoded(`[${json}]`))).rows).toEqual(rows);
    expect((await read(encoded(csv(",")))).rows).toEqual(rows);
  });

  it("says which list of an object it took, and refuses to choose between two", async () => {
    expect((await read(`{"train": [${json}]}`)).notes).toContain('data: its rows are those of "train"');
    await expect(read(`{"train": [${json}], "test": [${json}]}`)).rejects.toThrow(
      'several lists of rows: "train", "test"',
    );
    // The second list begins behind what is looked at to tell the format.
    const long = Array.from({ length: 2000 }, () => json[0]);
    await expect(read(`{"train": [${long}], "test": [${json}]}`)).rejects.toThrow("a second list of rows begins");
  });

  it("is JSONL although its first line is broken", async () => {
    await expect(
      read(`{"instruction":"a","output":"b"\n${json.join("\n")}\n{"instruction":1,"output":"b"}`),
    ).rejects.toMatchObject({
      code: "DATASET_FORMAT",
      message: expect.stringMatching(
        /^data has 2 problems:\n- data, line 1: is not valid JSON: .*\n- data, line 4: field/,
      ),
    });
  });

  it("counts the lines that cells and blank lines take, and leaves rows of commas alone out", async () => {
    const { places, notes } = await read('text,id\n"a\nb",1\n\n,\nc,2\n');
    expect(places).toEqual(["data, record 1 (line 2)", "data, record 3 (line 6)"]);
    expect(notes).toContain("data: 1 row without any text left out");
  });
});

describe("all problems of a file", () => {
  it("are told in one error: places, what was found, what to do", async () => {
    const text = [
      json[0],
      '{"instruction":"a"}',
      '{"instruction":"a" "output":"b"}',
      "{}",
      '{"output":"b","output":"c","instruction":"a"}',
      "7",
    ];
    const failure = await read(text.join("\n")).catch((error) => error);
    expect(failure.code).toBe("DATASET_ROW_FIELD");
    expect(failure.message.split("\n")).toEqual([
      "data has 5 problems:",
      '- data, line 2: field "output" is missing',
      expect.stringMatching(/^- data, line 3: is not valid JSON: .* at character 20 of the record$/),
      '- data, line 4: field "instruction" is missing; field "output" is missing',
      '- data, line 5: has a key twice in one object: "output"',
      "- data, line 6: must be an object, found number",
    ]);
    expect(failure.hint.split("\n")).toEqual([expect.stringMatching(/^A row is/), "Keep one of each."]);
  });

  it("are twenty, then a count", async () => {
    const failure = await read("{}\n".repeat(3) + '{"text":1}\n'.repeat(40)).catch((error) => error);
    const lines = failure.message.split("\n");
    expect(lines).toHaveLength(22);
    expect(lines[0]).toBe("data has 43 problems:");
    expect(lines.at(-1)).toBe("- and 23 more");
  });

  it("in a table name record, line and cell counts", async () => {
    await expect(read('instruction,output\n"a"b",c\n"d","e"\nx\n')).rejects.toMatchObject({
      message: expect.stringMatching(
        /^data has \d problems:\n- data, record 1 \(line 2\): a quotation mark stands inside a cell/,
      ),
      hint: expect.stringContaining('write a quotation mark inside as ""'),
    });
    await expect(read("instruction,answer\na,b\n")).rejects.toThrow('data: its first line names no column "output"');
    await expect(read("text,text\na,b\n")).rejects.toThrow('names the column "text" twice');
  });

  it("of another encoding name the place, what it may be, and the command that changes it", async () => {
    // "指令" and "你好" in GBK: the first two bytes happen to be a letter in UTF-8 too.
    const gbk = Buffer.concat([
      Buffer.from("instruction,output\nx,y\n"),
      Buffer.from([0xd6, 0xb8, 0xc1, 0xee, 0x2c, 0xc4, 0xe3, 0xba, 0xc3, 10]),
    ]);
    await expect(read(gbk)).rejects.toMatchObject({
      code: "DATASET_FORMAT",
      message: "data, record 2 (line 3): is not valid UTF-8 at byte 25 (0xc1)",
      hint: "It may be GBK or GB18030: iconv -f gbk -t utf-8 OLD > NEW makes it UTF-8.",
    });
    const latin = Buffer.from(`${JSON.stringify({ text: "caf\xe9 au lait" })}\n`.repeat(5), "latin1");
    await expect(read(latin)).rejects.toMatchObject({
      message: expect.stringMatching(
        /^data has 3 problems:[\s\S]*line 3: is not valid UTF-8 at byte 60 \(0xe9\); the file is not read further$/,
      ),
      hint: expect.stringContaining("windows-1252"),
    });
  });
});
