import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BodyJson, defaultLimits, JsonError, parseBodyJson } from "../../src/cog/http/body-json.ts";
import { bounded, expectLinear, soup } from "../fuzzing.ts";

const digits = fc.tuple(fc.integer({ min: 1, max: 320 }), fc.constantFrom("1", "9", "0")).map(([n, d]) => d.repeat(n));
const number = fc
  .tuple(
    fc.constantFrom("", "-"),
    digits,
    fc.constantFrom("", ".5", `.${"3".repeat(300)}`),
    fc.integer({ min: -400, max: 400 }),
  )
  .map(([sign, whole, fraction, exponent]) => `${sign}${whole}${fraction}${exponent === 0 ? "" : `e${exponent}`}`);
const tokens = [
  ...'{}[],:"\\ 019-e',
  "\\u",
  "\\ud800",
  "\\uDC00",
  "true",
  "null",
  '"a":',
  '"id":',
  "{}",
  "[]",
  "\ufeff",
  '"__proto__":',
];
const text = fc.oneof(
  fc.json(),
  soup(tokens),
  fc.array(number, { maxLength: 3 }).map((list) => `[${list}]`),
);
const bytes = fc.oneof(
  text.map((json) => Buffer.from(json)),
  fc.uint8Array({ maxLength: 30 }).map((inside) => Buffer.concat([Buffer.from('["'), inside, Buffer.from('"]')])),
);

function parsed(body: Buffer, limits = defaultLimits): BodyJson | null {
  try {
    return parseBodyJson(body, limits);
  } catch (error) {
    if (error instanceof JsonError) return null;
    throw error;
  }
}

/** What JSON.parse makes of UTF-8; undefined where it takes it not. */
function reference(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
  } catch {
    return undefined;
  }
}

/** All values inside, the outermost and keys too. */
function* inside(value: unknown): Generator<unknown> {
  yield value;
  if (typeof value !== "object" || value === null) return;
  for (const [key, item] of Object.entries(value)) {
    if (!Array.isArray(value)) yield key;
    yield* inside(item);
  }
}

const isAllowed = (value: unknown) =>
  typeof value === "string" ? value.isWellFormed() : typeof value !== "number" || Number.isFinite(value);

describe("whatever the bytes of a body are, they", () => {
  it("are read as JSON.parse reads them, or refused where a text or a number is not whole", () => {
    const property = fc.property(bytes, (body) => {
      const value = reference(body);
      const isTaken = value !== undefined && [...inside(value)].every(isAllowed);
      const result = parsed(body);
      expect(result !== null).toBe(isTaken);
      if (result === null) return;
      expect(isDeepStrictEqual(result.value, value)).toBe(true);
      const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
      expect(new Set(result.outermostKeys)).toEqual(new Set(isObject ? Object.keys(value) : []));
    });
    fc.assert(property, { ...bounded, numRuns: 3000 });
  });

  it("never make more values, keys or levels than the limits say", () => {
    const limits = { values: 12, keys: 4, depth: 3 };
    const levels = (value: unknown): number =>
      typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(levels)) : 0;
    const keysIn = (value: unknown): number =>
      typeof value === "object" && value !== null
        ? (Array.isArray(value) ? 0 : Object.keys(value).length) +
          Object.values(value).reduce((n: number, v) => n + keysIn(v), 0)
        : 0;
    const property = fc.property(fc.json({ maxDepth: 5 }), (json) => {
      const result = parsed(Buffer.from(json), limits);
      if (result === null) return;
      const keys = keysIn(result.value);
      expect(levels(result.value)).toBeLessThanOrEqual(limits.depth);
      expect(keys).toBeLessThanOrEqual(limits.keys);
      expect([...inside(result.value)].length - keys).toBeLessThanOrEqual(limits.values);
    });
    fc.assert(property, bounded);
  });

  it.each([
    ["spaces", (n: number) => " ".repeat(n)],
    ["digits", (n: number) => `[${"9".repeat(299)},`.repeat(n / 300)],
    ["one number", (n: number) => "9".repeat(n)],
    ["empty objects", (n: number) => `[${"{},".repeat(n / 3)}{}]`],
    ["distinct keys", (n: number) => `{${Array.from({ length: n / 10 }, (_, i) => `"k${i}":1`)}}`],
    ["quotes", (n: number) => '"'.repeat(n)],
    ["escaped quotes", (n: number) => `"${'\\"'.repeat(n / 2)}"`],
    ["backslashes", (n: number) => `"${"\\".repeat(n)}"`],
    ["surrogates", (n: number) => `["${"\\ud83d\\ude00".repeat(n / 12)}"]`],
    ["open brackets", (n: number) => "[".repeat(n)],
  ])("cost time and memory in proportion to their number: %s", async (_, input) => {
    await expectLinear(input, (json: string) => parsed(Buffer.from(json)));
  });
});
