import { describe, expect, it } from "vitest";
import { Needles } from "../../../src/cog/worker/needles.ts";
import { secretForms } from "../../../src/cog/worker/secret-forms.ts";

const knowing = (...texts: string[]): Needles => {
  const needles = new Needles();
  needles.add(texts);
  return needles;
};
const lines = (count: number, line: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => line(i)).join("\n");

describe("texts that are searched for", () => {
  it("are found as stretches: what overlaps or touches is one", () => {
    const needles = knowing("abcd", "cdef", "xyz", "bcdefgh");
    expect(needles.stretches("abcdef-xyzxyz-abcdefgh-abc")).toEqual([0, 6, 7, 13, 14, 22]);
  });

  it("cover an end that one begins with, from the length on that counts", () => {
    const needles = knowing("abcdefgh");
    expect(needles.stretches("xxabcd", 4)).toEqual([2, 6]);
    expect(needles.stretches("xxabc", 4)).toEqual([]);
    expect(needles.stretches("xxabcd")).toEqual([]);
  });

  it("are found no more once every add of theirs was taken back, and the others still are", () => {
    const needles = knowing("abcd");
    needles.add(["abcd", "efgh"]);
    const many = Array.from({ length: 1000 }, (_, i) => `text number ${i}.`);
    needles.add(many);
    needles.remove(many);
    expect(needles.stretches("text number 7. abcd efgh")).toEqual([15, 19, 20, 24]);
    needles.remove(["abcd"]);
    expect(needles.stretches("abcd")).toEqual([0, 4]);
    needles.remove(["abcd", "efgh"]);
    expect(needles.isEmpty).toBe(true);
    expect(needles.stretches("abcd efgh")).toEqual([]);
  });

  it("may hold any character, the zero too", () => {
    expect(knowing("\0\0a\uffff", "\0\0b\0").stretches("a\0\0\0b\0 \0\0a\uffff")).toEqual([2, 6, 7, 11]);
  });

  it.each([
    [
      "lines of ten secrets",
      lines(1000, (i) => `${i} of secret ${i % 10}: ${"abcdefghij".repeat(3)}`),
      "1 of secret 3: abc_",
    ],
    ["256 lines", lines(256, (i) => `line-${i}-of-it`), "line-1-of- "],
    ["one character only", "a".repeat(16_384), "a"],
    ["lines that begin alike", lines(29, (i) => `${"a".repeat(i + 4)}B`), "a"],
    ["lines that repeat two characters", lines(100, (i) => "ab".repeat(20) + i), "ab"],
  ])("cost a hostile text no more than two steps a character: %s", (_, secret, unit) => {
    const needles = knowing(...secretForms(secret));
    const text = unit.repeat(2 ** 18 / unit.length);
    needles.stretches(text);
    // Beside the one along the text that each character takes.
    expect(needles.linksFollowed).toBeLessThanOrEqual(text.length);
  });
});
