import { describe, expect, it } from "vitest";
import { definePredictor, type Field, Input, Output, Secret } from "../../src/cog/index.ts";

function declare(inputs: Record<string, unknown>) {
  return definePredictor({
    inputs: inputs as Record<string, Field<unknown>>,
    output: Output.string(),
    predict: () => "",
  });
}

describe("a declaration", () => {
  it.each([
    [{ n: Input.integer({ default: 9, le: 5 }) }, 'input "n": default: 9 is greater than the maximum of 5'],
    [{ n: Input.integer({ default: 2.5 }) }, 'input "n": default: 2.5 is not of type "integer"'],
    [{ s: Input.string({ default: "long", maxLength: 3 }) }, 'input "s": default: "long" is longer than 3 characters'],
    [{ s: Input.string({ default: null as never }) }, 'input "s": default null needs .optional()'],
    [{ s: Input.string({ maximum: 3 } as never) }, 'input "s": unknown option "maximum"'],
    [{ s: Input.string({ regex: "(" }) }, 'input "s": regex'],
    [{ s: Input.integer({ ge: 3, le: 1 }) }, 'input "s": ge 3 is over le 1'],
    [{ s: "text" }, 'input "s": is not one of Input'],
    [{ "a b": Input.string() }, 'input "a b"'],
    [{ Output: Input.string() }, 'input "Output": this name is reserved'],
    [{ v: Input.union([Input.string(), Input.path()]) }, 'input "v": a union cannot hold a path'],
    [{ v: Input.list(Input.string(), { maxItems: -1 }) }, 'input "v": maxItems must be a non-negative integer'],
    [{ v: Input.list(Input.string(), { maxItems: 1, default: ["a", "b"] }) }, "has more than 1 item"],
    [{ v: Input.list(Input.string({ default: "x" })) }, 'input "v": an element has no default'],
  ])("that is not possible names the field (%#)", (inputs, message) => {
    expect(() => declare(inputs)).toThrow(message);
  });

  it("refuses unknown keys and a missing function", () => {
    const whole = { inputs: {}, output: Output.string(), predict: () => "" };
    expect(() => definePredictor({ ...whole, perdict: 1 } as never)).toThrow('"perdict"');
    expect(() => definePredictor({ inputs: {}, output: Output.string() } as never)).toThrow(
      "lacks the function predict",
    );
    expect(() => definePredictor({ ...whole, concurrency: 0 })).toThrow("concurrency");
    expect(() => definePredictor({ ...whole, output: "string" } as never)).toThrow("output");
  });

  it("streams by default where the output is an iterator", () => {
    expect(declare({}).streaming).toBe(false);
    const iterator = definePredictor({ inputs: {}, output: Output.concatenateIterator(), predict: () => ["a"] });
    expect(iterator.streaming).toBe(true);
  });
});

describe("Secret", () => {
  it("shows ten asterisks wherever it is turned into text", async () => {
    const { inspect } = await import("node:util");
    const secret = new Secret("k3y");
    expect([String(secret), JSON.stringify(secret), inspect(secret), inspect({ secret })].join()).not.toContain("k3y");
    expect(`${secret}`).toBe("*".repeat(10));
    expect(secret.getSecretValue()).toBe("k3y");
  });
});
