import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { readDataUrl } from "../../src/cog/files/data-url.ts";
import { writeDataUrl } from "../../src/cog/files/data-url-file.ts";
import { isCodedError } from "../../src/errors/index.ts";
import { bounded, expectLinear, soup, valueOrCode } from "../fuzzing.ts";

const parent = mkdtempSync(join(tmpdir(), "data-url-"));
const folder = join(parent, "inputs");
afterAll(() => rmSync(parent, { recursive: true }));

const tokens = [
  ..."; , = % / \\ .. + - _".split(" "),
  " ",
  "\n",
  "base64",
  "name=",
  "../",
  "%2F",
  "%00",
  "text/plain",
  "image/png",
  "YWJj",
  "YQ==",
];
const url = soup(tokens).map((text) => `data:${text}`);

describe("whatever a data URL holds, it", () => {
  it("becomes one file in its folder, or INPUT_FILE", async () => {
    const property = fc.asyncProperty(url, async (text) => {
      const file = await valueOrCode(() => writeDataUrl(text, folder), "INPUT_FILE");
      expect(readdirSync(parent).filter((name) => name !== "inputs")).toEqual([]);
      if (isCodedError(file)) return;
      expect(dirname(file.path)).toBe(folder);
      expect(readFileSync(file.path).length).toBeLessThanOrEqual(3 * text.length);
      rmSync(file.path);
    });
    await fc.assert(property, bounded);
  });

  it("gives back the bytes that were encoded, with white space anywhere and both alphabets", () => {
    const property = fc.property(
      fc.uint8Array(),
      fc.array(fc.tuple(fc.nat(), fc.constantFrom(" ", "\r\n", "\t"))),
      (bytes, blanks) => {
        const characters = [...Buffer.from(bytes).toString("base64")];
        for (const [at, blank] of blanks) characters.splice(at % (characters.length + 1), 0, blank);
        const plain = characters.join("");
        for (const text of [plain, encodeURIComponent(plain), plain.replaceAll("+", "-").replaceAll("/", "_")]) {
          expect(readDataUrl(`data:;base64,${text}`).bytes).toEqual(Buffer.from(bytes));
        }
        expect(readDataUrl(`data:,${encodeURIComponent(plain)}`).bytes.toString()).toBe(plain);
      },
    );
    fc.assert(property, bounded);
  });

  it.each([
    ["spaces", (n: number) => `data:;base64,${" ".repeat(n)}`],
    ["spaces before the comma", (n: number) => `data:${" ".repeat(n)},`],
    ["spaces between letters", (n: number) => `data:;base64,${"A ".repeat(n / 2)}`],
    ["parameters", (n: number) => `data:${";".repeat(n)},`],
    ["padding", (n: number) => `data:;base64,${"=".repeat(n)}`],
    ["percent signs", (n: number) => `data:,${"%".repeat(n)}`],
    ["encoded characters", (n: number) => `data:;base64,${"%41".repeat(n / 3)}`],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    await expectLinear(input, (text: string) => {
      try {
        return readDataUrl(text);
      } catch (error) {
        return error;
      }
    });
  });

  it("is not cut into parameters without number", () => {
    expect(() => readDataUrl(`data:${";".repeat(100_000)},`)).toThrow("no comma in its first 4096 characters");
  });
});
