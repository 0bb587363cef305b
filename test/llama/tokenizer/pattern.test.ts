import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Automaton } from "../../../src/llama/tokenizer/pattern/automaton.ts";
import { automatonFor } from "../../../src/llama/tokenizer/pattern/automatons.ts";
import { PatternError } from "../../../src/llama/tokenizer/pattern/syntax.ts";
import { publishedWords } from "../../../src/llama/tokenizer/published-patterns.ts";
import { bounded, expectLinear } from "../../fuzzing.ts";

function matches(pattern: Automaton, text: string): [string, number][] {
  const search = pattern.search(text);
  const found: [string, number][] = [];
  for (;;) {
    while (!search.next());
    if (search.start === text.length) return found;
    found.push([text.slice(search.start, search.end), search.start]);
  }
}

/** Patterns that mean the same in JavaScript. */
const atom = fc.constantFrom(
  "a",
  "b",
  "[ab]",
  "[^a]",
  ".",
  "\\n",
  "(?=b)",
  "(?!a)",
  "(?<=a)",
  "(?<!b)",
  "ab",
  "\u{1f600}",
);
const pattern = fc.letrec<{ node: string }>((tie) => ({
  node: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    atom,
    fc.tuple(tie("node"), tie("node")).map((pair) => pair.join("")),
    fc.tuple(tie("node"), tie("node")).map((pair) => `(?:${pair.join("|")})`),
    fc
      .tuple(
        fc.constantFrom("a", "[ab]", "(?:ab|a)", "(?:a|b\\n)"),
        fc.constantFrom("*", "+", "?", "*?", "+?", "??", "{1,2}", "{2}"),
      )
      .map((pair) => pair.join("")),
  ),
})).node;

describe("a pattern", () => {
  it("matches what a backtracking engine matches, the first alternative first", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", "c", "\n", "\u{1f600}"), maxLength: 12 });
    fc.assert(
      fc.property(pattern, text, (source, given) => {
        let automaton: Automaton;
        try {
          automaton = new Automaton(source);
        } catch (error) {
          expect(error).toBeInstanceOf(PatternError);
          return;
        }
        const expected = [...given.matchAll(new RegExp(source, "gu"))].map((match) => [match[0], match.index]);
        expect(matches(automaton, given)).toEqual(expected);
      }),
      bounded,
    );
  });

  it.each([
    ["\\s is Unicode's white space", "\\s+", "a\u0085\u00a0\ufeffb", ["\u0085\u00a0"]],
    ["(?i:) folds case", "(?i:'s|'k)", "'S'\u017f'K'\u212a's", ["'S", "'\u017f", "'K", "'\u212a", "'s"]],
    ["a possessive loop gives nothing back", "a++b|a*+a|b", "aab", ["aab"]],
    ["a possessive loop that would have to", "a?+a", "aab", ["aa"]],
    ["$ is the end of a line", "a$", "a\naba", ["a", "a"]],
    ["sets within sets", "[a-z&&[^aeiou]]+", "hello", ["h", "ll"]],
    ["\\w has marks and connectors", "\\w+", "e\u0301_1-\u0663", ["e\u0301_1", "\u0663"]],
    ["borders of words", "\\b\\w", "ab cd", ["a", "c"]],
    ["characters past U+FFFF are one", ".", "\u{1f600}a", ["\u{1f600}", "a"]],
  ])("%s", (_, source, text, expected) => {
    expect(matches(new Automaton(source), text).map(([match]) => match)).toEqual(expected);
  });

  it.each([
    ["(a)\\1", "\\1"],
    ["(?=ab)a", "more than one character"],
    ["(?:ab)++", "possessive"],
    ["a*", "empty"],
    ["(?<name>a)", "(?<n"],
    ["a{1,5000}", "interval"],
    ["((((a{1,1000}){1,1000}){1,1000}){1,1000})", "parts"],
    ["(".repeat(1000), "groups"],
    ["[a", "too early"],
    ["\\p{Nonsense}", "\\p{Nonsense}"],
  ])("is refused by name where it is not supported: %.20s", (source, message) => {
    expect(() => automatonFor(source, "tokenizer.json")).toThrow(
      expect.objectContaining({
        code: "TOKENIZER_UNSUPPORTED",
        message: expect.stringContaining(message.slice(0, 20)),
      }),
    );
  });

  it.each([
    ["(?:a+)+b", (size: number) => "a".repeat(size)],
    ["\\s+$", (size: number) => `${" ".repeat(size)}x`],
    ["a|a*b", (size: number) => "a".repeat(size)],
    ["(?:a|aa|aaa)+c|a", (size: number) => "a".repeat(size)],
  ])("takes time in proportion to the text: %s", async (source, input) => {
    const automaton = new Automaton(source);
    await expectLinear(input, (text: string) => matches(automaton, text).length, 2 ** 18);
  });

  it.each(["\\p{L}+", "\\p{L}+$|b"])("pauses while it reads a long match: %s", (source) => {
    const search = new Automaton(source).search("a".repeat(1_000_000));
    let pauses = 0;
    while (!search.next()) pauses++;
    expect(search.end).toBe(1_000_000);
    expect(pauses).toBeGreaterThan(50);
  });

  it.each(["\\d", "ab", "\\s+$"])("pauses while it looks for one: %s", (source) => {
    const search = new Automaton(source).search(`${"a ".repeat(500_000)}a`);
    let pauses = 0;
    while (!search.next()) pauses++;
    expect(search.start).toBe(1_000_001);
    expect(pauses).toBeGreaterThan(50);
  });
});

it("every published way to split words is understood", () => {
  for (const { preTokenizer } of publishedWords) {
    for (const part of (preTokenizer.pretokenizers ?? []) as { pattern?: { Regex: string } }[]) {
      if (part.pattern) expect(() => new Automaton(part.pattern!.Regex)).not.toThrow();
    }
  }
});
