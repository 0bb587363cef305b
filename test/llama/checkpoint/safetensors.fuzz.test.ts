import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { isCodedError } from "../../../src/errors/index.ts";
import { readSafetensorsHeader } from "../../../src/llama/checkpoint/safetensors.ts";
import { parseUniqueKeyJson } from "../../../src/llama/checkpoint/unique-key-json.ts";
import { bounded, damaged, expectLinear, soup, valueOrCode } from "../../fuzzing.ts";

const folder = mkdtempSync(join(tmpdir(), "safetensors-"));
const file = join(folder, "model.safetensors");
afterAll(() => rmSync(folder, { recursive: true }));

function safetensors(header: string, dataBytes: number): Buffer {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(dataBytes)]);
}

const number = fc.oneof(fc.nat(40), fc.constantFrom(-1, 0.5, 2 ** 53, 1e300, null, "1"));
const tensor = fc.record(
  {
    dtype: fc.oneof(fc.constantFrom("F32", "F16", "F4", "BOOL", "U9"), fc.jsonValue()),
    shape: fc.oneof(fc.array(number, { maxLength: 4 }), fc.jsonValue()),
    data_offsets: fc.oneof(fc.array(number, { maxLength: 3 }), fc.jsonValue()),
  },
  { requiredKeys: [] },
);
const header = fc.oneof(
  fc
    .dictionary(fc.constantFrom("a", "b", "__metadata__", "__proto__"), fc.oneof(tensor, fc.jsonValue()))
    .map((value) => JSON.stringify(value)),
  soup([...'{}[],:"\\ 019-e.', "\\u", "true", '"a":', '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}']),
);
const right = safetensors(
  '{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F16","shape":[4],"data_offsets":[16,24]}}',
  24,
);
const bytes = fc.oneof(
  fc.tuple(header, fc.nat(64)).map(([text, size]) => safetensors(text, size)),
  damaged(right),
  fc.uint8Array().map(Buffer.from),
);

describe("whatever a safetensors file holds, its header", () => {
  it("describes tensors inside the file that fill it, or is CHECKPOINT_CORRUPT", async () => {
    const property = fc.asyncProperty(bytes, async (content) => {
      writeFileSync(file, content);
      const read = await valueOrCode(() => readSafetensorsHeader(file), "CHECKPOINT_CORRUPT");
      if (isCodedError(read)) return;
      let described = 0;
      for (const entry of read.tensors.values()) {
        described += entry.bytes;
        expect(entry.offset).toBeGreaterThanOrEqual(8);
        expect(entry.offset + entry.bytes).toBeLessThanOrEqual(content.length);
      }
      expect(described + 8 + Number(content.readBigUInt64LE())).toBe(content.length);
    });
    await fc.assert(property, bounded);
  });

  it("is JSON as JSON.parse reads it, without repeated names", () => {
    const plain = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(plain);
      return value instanceof Map ? Object.fromEntries([...value].map(([key, item]) => [key, plain(item)])) : value;
    };
    const property = fc.property(header, (text) => {
      let value: unknown;
      try {
        value = plain(parseUniqueKeyJson(text));
      } catch (error) {
        if (error instanceof SyntaxError) return;
        throw error;
      }
      expect(JSON.stringify(value)).toBe(JSON.stringify(JSON.parse(text)));
    });
    fc.assert(property, { ...bounded, numRuns: 1000 });
  });

  it.each([
    ["open brackets", (n: number) => "[".repeat(n)],
    ["digits", (n: number) => "9".repeat(n)],
    ["a fraction without digits", (n: number) => `[${"0.".repeat(n / 2)}`],
    ["backslashes", (n: number) => `"${"\\".repeat(n)}`],
    ["empty objects", (n: number) => `[${"{},".repeat(n / 3)}`],
    ["names", (n: number) => `{${Array.from({ length: n / 10 }, (_, i) => `"k${i}":1`)}}`],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    await expectLinear(input, (text: string) => {
      try {
        return parseUniqueKeyJson(text);
      } catch (error) {
        return error;
      }
    });
  });
});
