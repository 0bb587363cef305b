import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { isCodedError } from "../../src/errors/index.ts";
import { asUtf8, InvalidText } from "../../src/training/dataset/encoding.ts";
import { formatBytes, formatOf } from "../../src/training/dataset/format.ts";
import { type Row, readDataset } from "../../src/training/dataset/index.ts";
import { JsonReader } from "../../src/training/dataset/json-reader.ts";
import { Unreadable } from "../../src/training/dataset/problems.ts";
import { TableReader } from "../../src/training/dataset/table.ts";
import { bounded, damaged, expectLinear, soup, valueOrCode } from "../fuzzing.ts";

const folder = mkdtempSync(join(tmpdir(), "dataset-"));
const file = join(folder, "rows.json");
afterAll(() => rmSync(folder, { recursive: true }));

const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom('"', "\\", "]", "}\n{", "\u2028", ""));
const row = fc.record(
  { instruction: text, input: fc.option(text), output: text, other: fc.jsonValue() },
  { requiredKeys: ["instruction", "output"] },
);
const blank = fc.constantFrom("", " ", "\n", "\r\n", "\t", "\n\n");
const rows = fc.array(row, { minLength: 1, maxLength: 5 });
const array = fc
  .tuple(rows, blank)
  .map(
    ([list, space]) => `${space}[${list.map((item) => `${space}${JSON.stringify(item)}${space}`).join(",")}]${space}`,
  );
const lines = fc
  .tuple(rows, fc.constantFrom("\n", "\r\n", "\n \n", ",\n"))
  .map(([list, end]) => list.map((item) => JSON.stringify(item)).join(end));
const indented = rows.map((list) => list.map((item) => JSON.stringify(item, null, 2)).join("\n"));
const wrapped = rows.map((list) => JSON.stringify({ version: 1, data: list, more: [list.length] }));
const tokens = [
  ...'{}[],:"\\ \n',
  "\r\n",
  '{"instruction":"a","output":"b"}',
  '"instruction":',
  '"data":',
  '"messages":',
  '"role":"user"',
  "null",
  "1",
  "\ufeff",
  "[{",
  "}]",
  "instruction,output\n",
  "text\n",
  'a,"b"\n',
];
const content = fc
  .oneof(
    array,
    lines,
    indented,
    wrapped,
    soup(tokens),
    fc.json(),
    fc.tuple(array, fc.nat()).map(([json, at]) => json.slice(0, at % json.length)),
    soup(tokens).map((cells) => `instruction,output\n${cells}`),
  )
  .map((json) => Buffer.from(json));

const cell = fc.oneof(text, fc.constantFrom(",", "\t", "\r\n", '""', " "));
const quotedCell = (value: string) => `"${value.replaceAll('"', '""')}"`;

/** Texts of what was read, or of why it ended. */
function readAll(reader: JsonReader | TableReader, bytes: Buffer, cut: number): string[] {
  const found: string[] = [];
  const take = (records: Iterable<object>) => {
    for (const record of records) found.push(JSON.stringify(record));
  };
  try {
    for (let at = 0; at < bytes.length; at += cut) take(reader.push(bytes.subarray(at, at + cut)));
    take(reader.end());
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    found.push(`${error.what} ${JSON.stringify(error.source)}`);
  }
  return found;
}

function split(bytes: Buffer, cut: number): string[] {
  const format = formatOf(bytes.subarray(0, formatBytes), (key) => key === "instruction");
  if (format === null) return [];
  // A table's pieces end between two characters, which the test below is about.
  if (format.kind === "table") return [];
  const start = format.kind === "array" ? format.start + 1 : format.start;
  return readAll(new JsonReader("rows.json", format, 0), bytes.subarray(start), cut);
}

const splitTable = (csv: string, cut: number) =>
  readAll(new TableReader("rows.csv", csv.slice(0, 1000), 0, () => {}), Buffer.from(csv), cut);

async function decoded(bytes: Buffer, cut: number): Promise<{ text: string; invalid: number[] }> {
  const chunks = async function* () {
    for (let at = 0; at < bytes.length; at += cut) yield bytes.subarray(at, at + cut);
  };
  const invalid: number[] = [];
  const parts: Buffer[] = [];
  for await (const item of asUtf8(chunks())) {
    if (item instanceof InvalidText) invalid.push(item.offset);
    else parts.push(item);
  }
  return { text: Buffer.concat(parts).toString(), invalid };
}

describe("whatever a data set's file holds, it", () => {
  it("gives rows of text, or a code that names the file", async () => {
    const property = fc.asyncProperty(content, async (bytes) => {
      writeFileSync(file, bytes);
      const read = await valueOrCode(() => readDataset(file), "DATASET_FORMAT", "DATASET_EMPTY", "DATASET_ROW_FIELD");
      if (isCodedError(read)) expect(read.message).toMatch(/^rows\.json/);
      else for (const each of read.rows) expectTexts(each);
    });
    await fc.assert(property, bounded);
  });

  it("gives every row, in order, of each format and encoding", async () => {
    const formats = {
      array: (json: string[]) => `[${json}]`,
      lines: (json: string[]) => json.join("\n"),
      commas: (json: string[]) => json.join(",\n"),
      concatenated: (json: string[]) => json.map((one) => JSON.stringify(JSON.parse(one), null, 1)).join(""),
      list: (json: string[]) => `{"name": "x", "data": [${json}]}`,
    };
    const encodings = ["utf8", "utf16le"] as const;
    const any = fc.constantFrom(...(Object.keys(formats) as (keyof typeof formats)[]));
    const property = fc.asyncProperty(rows, any, fc.constantFrom(...encodings), async (list, format, encoding) => {
      const json = formats[format](list.map((item) => JSON.stringify(item)));
      // UTF-16 without its mark is told by its NUL bytes, which texts in other scripts have few of.
      writeFileSync(file, Buffer.from(encoding === "utf8" ? json : `\ufeff${json}`, encoding));
      const read = (await readDataset(file)).rows.map(({ source, ...fields }) => fields);
      expect(read).toEqual(
        list.map(({ instruction, input, output }) => ({
          instruction: instruction.toWellFormed(),
          input: (input ?? "").toWellFormed(),
          output: output.toWellFormed(),
        })),
      );
    });
    await fc.assert(property, bounded);
  });

  it("gives every cell of a table, quoted or not", async () => {
    const table = fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 5 });
    const property = fc.asyncProperty(table, fc.constantFrom(",", "\t", ";"), async (cells, delimiter) => {
      const filled = cells.filter(([a, b]) => a !== "" || b !== "");
      const body = filled.map((pair) => pair.map(quotedCell).join(delimiter)).join("\r\n");
      writeFileSync(file, `instruction${delimiter}output\r\n${body}`);
      const read = await valueOrCode(() => readDataset(file), "DATASET_EMPTY");
      if (isCodedError(read)) expect(filled).toEqual([]);
      else {
        const found = read.rows.map((each) => ("instruction" in each ? [each.instruction, each.output] : []));
        expect(found).toEqual(filled.map((pair) => pair.map((value) => value.toWellFormed())));
      }
    });
    await fc.assert(property, bounded);
  });

  it("gives the same records, or the same error, wherever its bytes are cut", () => {
    const property = fc.property(content, fc.integer({ min: 1, max: 9 }), (bytes, cut) => {
      expect(split(bytes, cut)).toEqual(split(bytes, bytes.length + 1));
    });
    fc.assert(property, bounded);
    const ascii = soup(["a", "b", ",", '"', '""', "\n", "\r\n", " ", '","']).filter((csv) => !/[^\0-\x7f]/.test(csv));
    const table = fc.property(ascii, fc.integer({ min: 1, max: 9 }), (csv, cut) => {
      expect(splitTable(`a,b\n${csv}`, cut)).toEqual(splitTable(`a,b\n${csv}`, csv.length + 10));
    });
    fc.assert(table, bounded);
  });

  it("gives the same text, and the same invalid places, wherever its bytes are cut", async () => {
    const sample = Buffer.from("漢字, é and 🦙\n".repeat(8));
    const property = fc.asyncProperty(damaged(sample), fc.integer({ min: 1, max: 9 }), async (bytes, cut) => {
      const whole = await valueOrUnreadable(() => decoded(bytes, bytes.length + 1));
      expect(await valueOrUnreadable(() => decoded(bytes, cut))).toEqual(whole);
      const isUtf16 = bytes.includes(0) || [0xfeff, 0xfffe].includes(bytes.length > 1 ? bytes.readUInt16BE(0) : 0);
      if (typeof whole === "object" && !isUtf16) expect(whole.text).toBe(bytes.toString("utf8"));
    });
    await fc.assert(property, bounded);
  });

  it.each([
    ["spaces", (n: number) => " ".repeat(n)],
    ["open brackets", (n: number) => "[".repeat(n)],
    ["open braces with keys", (n: number) => '{"a":'.repeat(n / 5)],
    ["empty objects", (n: number) => `[${"{},".repeat(n / 3)}`],
    ["empty lines", (n: number) => `{}${"\n".repeat(n)}`],
    ["backslashes", (n: number) => `[{"${"\\".repeat(n)}`],
    ["keys", (n: number) => `{${'"a":1,'.repeat(n / 6)}`],
    ["lists", (n: number) => `{"data":[{}]${',"b":[1]'.repeat(n / 8)}}`],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    await expectLinear(input, (json: string) => split(Buffer.from(json), 4096));
  });

  it.each([
    ["quotation marks", (n: number) => `a,b\n"${'"x'.repeat(n / 2)}`],
    ["pairs of quotation marks", (n: number) => `a,b\n${'"'.repeat(n)}`],
    ["commas", (n: number) => `a,b\n${",".repeat(n)}`],
    ["one open cell", (n: number) => `a,b\n"${"x\n".repeat(n / 2)}`],
    ["quoted cells without an end of line", (n: number) => `a,b\n${'"x",'.repeat(n / 4)}`],
    ["spaces behind quotation marks", (n: number) => `a,b\n${'"x"   '.repeat(n / 6)}`],
  ])("costs time and memory in proportion to its length, as a table: %s", async (_, input) => {
    await expectLinear(input, (csv: string) => splitTable(csv, 4096), 2 ** 18);
  });
});

async function valueOrUnreadable<T>(read: () => Promise<T>): Promise<T | string> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return "unreadable";
  }
}

function expectTexts(found: Row): void {
  if ("turns" in found) {
    expect(found.turns.length % 2).toBe(0);
    for (const { content: said } of found.turns) expect(typeof said).toBe("string");
  } else if ("text" in found) expect(typeof found.text).toBe("string");
  else
    expect([found.instruction, found.input, found.output].map((value) => typeof value)).toEqual(
      Array(3).fill("string"),
    );
}
