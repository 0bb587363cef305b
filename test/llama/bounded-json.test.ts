import { describe, expect, it } from "vitest";
import { parseBoundedJson } from "../../src/llama/bounded-json.ts";

describe("parseBoundedJson", () => {
  it("gives what JSON.parse gives, whatever stands in strings", () => {
    for (const text of [
      '{"a":[1,{"b":"[[[[{{{{,,,,"}],"c\\\\":"\\\\\\"[","d":"\\\\\\\\"}',
      `"${"[".repeat(1000)}"`,
      `[${"[],".repeat(1000)}0]`,
      `${"[".repeat(64)}${"]".repeat(64)}`,
      "null",
    ]) {
      expect(parseBoundedJson(text)).toEqual(JSON.parse(text));
    }
    for (const text of ["", "{", '"', '"\\"', "[1,]", "]]"]) expect(() => parseBoundedJson(text)).toThrow(SyntaxError);
  });

  it("refuses depth and values before it parses", () => {
    expect(() => parseBoundedJson("[".repeat(65))).toThrow("nested deeper than 64 levels (at character 64)");
    expect(() => parseBoundedJson(`{"a":"\\\\",${'"b":['.repeat(64)}`)).toThrow("nested deeper than 64 levels");
    expect(parseBoundedJson("[1,2,3]", 2)).toEqual([1, 2, 3]);
    expect(() => parseBoundedJson("[1,2,3,4", 2)).toThrow("more than 2 values");
  });
});
