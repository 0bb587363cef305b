import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { isCodedError } from "../../src/errors/index.ts";
import { readDataset } from "../../src/training/dataset/index.ts";
import { RecordSplitter } from "../../src/training/dataset/records.ts";
import { bounded, expectLinear, soup, valueOrCode } from "../fuzzing.ts";

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
  .tuple(rows, fc.constantFrom("\n", "\r\n", "\n \n"))
  .map(([list, end]) => list.map((item) => JSON.stringify(item)).join(end));
const tokens = [
  ...'{}[],:"\\ \n',
  "\r\n",
  '{"instruction":"a","output":"b"}',
  '"instruction":',
  "null",
  "1",
  "\ufeff",
  "[{",
  "}]",
];
const content = fc
  .oneof(
    array,
    lines,
    soup(tokens),
    fc.json(),
    fc.tuple(array, fc.nat()).map(([json, at]) => json.slice(0, at % json.length)),
  )
  .map((json) => Buffer.from(json));

function split(bytes: Buffer, cut: number): string[] {
  const splitter = new RecordSplitter("rows.json");
  const found: string[] = [];
  const take = (records: Iterable<{ json: Buffer; source: object }>) => {
    for (const { json, source } of records) found.push(`${JSON.stringify(source)} ${json.toString("latin1")}`);
  };
  try {
    for (let at = 0; at < bytes.length; at += cut) take(splitter.push(bytes.subarray(at, at + cut)));
    take(splitter.end());
  } catch (error) {
    if (!isCodedError(error)) throw error;
    found.push(error.message);
  }
  return found;
}

describe("whatever a data set's file holds, it", () => {
  it("gives rows of text, or a code that names the file", async () => {
    const property = fc.asyncProperty(content, async (bytes) => {
      writeFileSync(file, bytes);
      const read = await valueOrCode(() => readDataset(file), "DATASET_FORMAT", "DATASET_EMPTY", "DATASET_ROW_FIELD");
      if (isCodedError(read)) expect(read.message).toMatch(/^rows\.json/);
      else
        for (const { instruction, input, output } of read)
          expect([instruction, input, output].map((value) => typeof value)).toEqual(["string", "string", "string"]);
    });
    await fc.assert(property, bounded);
  });

  it("gives every row, in order, of a JSON array and of JSONL", async () => {
    const property = fc.asyncProperty(rows, fc.constantFrom("array", "lines"), async (list, format) => {
      const json = list.map((item) => JSON.stringify(item));
      writeFileSync(file, format === "array" ? `[${json}]` : json.join("\n"));
      const read = (await readDataset(file)).map(({ source, ...fields }) => fields);
      expect(read).toEqual(list.map(({ instruction, input, output }) => ({ instruction, input: input ?? "", output })));
    });
    await fc.assert(property, bounded);
  });

  it("gives the same records, or the same error, wherever its bytes are cut", () => {
    const property = fc.property(content, fc.integer({ min: 1, max: 9 }), (bytes, cut) => {
      expect(split(bytes, cut)).toEqual(split(bytes, bytes.length + 1));
    });
    fc.assert(property, bounded);
  });

  it.each([
    ["spaces", (n: number) => " ".repeat(n)],
    ["open brackets", (n: number) => "[".repeat(n)],
    ["empty objects", (n: number) => `[${"{},".repeat(n / 3)}`],
    ["empty lines", (n: number) => `{}${"\n".repeat(n)}`],
    ["backslashes", (n: number) => `[{"${"\\".repeat(n)}`],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    await expectLinear(input, (json: string) => split(Buffer.from(json), 4096));
  });
});
