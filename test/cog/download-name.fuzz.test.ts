import { closeSync, mkdtempSync, openSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { nameOf, storedName } from "../../src/cog/files/download-name.ts";
import { bounded, expectLinear, soup } from "../fuzzing.ts";

const folder = mkdtempSync(join(tmpdir(), "download-name-"));
afterAll(() => rmSync(folder, { recursive: true }));

const path = soup([
  "/",
  "..",
  "%2e",
  "%2F",
  "%5C",
  "\\",
  "%00",
  "%",
  "%ff",
  "%F0%9F",
  "+",
  ".",
  "?",
  "#",
  "é",
  "\u{1F600}",
  "x".repeat(90),
]);

describe("whatever the URL of a download is, its file's name", () => {
  it("is one name in its own folder, which the file system takes", () => {
    const property = fc.property(path, (text) => {
      const url = `http://127.0.0.1/${text}`;
      fc.pre(URL.canParse(url));
      const name = nameOf(url);
      expect(name).not.toBe("");
      const stored = storedName(name);
      closeSync(openSync(join(folder, stored), "wx"));
      expect(Buffer.byteLength(stored)).toBeLessThanOrEqual(255);
      expect(readdirSync(folder)).toHaveLength(1);
      rmSync(join(folder, stored));
    });
    fc.assert(property, bounded);
  });

  it("costs time and memory in proportion to its length", async () => {
    for (const part of ["/", ".", "%", "%2e", "+", "é"]) {
      await expectLinear(
        (size) => `http://127.0.0.1/${part.repeat(size / part.length)}`,
        (url: string) => storedName(nameOf(url)),
      );
    }
  });
});
