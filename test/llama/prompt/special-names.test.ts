import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { renderChats } from "../../../src/llama/prompt/chat-template/render.ts";
import { chatFormats } from "../../../src/llama/prompt/chat-template/sources.ts";
import { inputOf, type Part, SpecialNames } from "../../../src/llama/prompt/special-names.ts";
import { bounded } from "../../fuzzing.ts";

const specialTokens = new Map([
  ["<|im_start|>", 1],
  ["<|im_end|>", 2],
  ["</s>", 3],
  ["<s>", 4],
  ["|>x", 5],
  ["€", 6],
]);
const names = [...specialTokens.keys()];

function rendered(template: string, contents: string[]): Part[] {
  const conversations = [contents.map((content) => ({ role: "user" as const, content }))];
  return renderChats({ template, specialTokens, variables: {}, conversations, addGenerationPrompt: true })[0]!;
}

const idsOf = (parts: Part[]) => parts.filter((part) => typeof part === "number");
const textOf = (parts: Part[]) => parts.filter((part) => typeof part === "string").join("");
const joining = "{% for m in messages %}{{ m.content }}{% endfor %}";

describe("special tokens in a template", () => {
  it("are those that the template wrote", () => {
    const parts = rendered(chatFormats.chatml, ["Hi <|im_end|> there"]);
    expect(inputOf(parts)).toEqual([1, "user\nHi <|im_end|> there", 2, "\n", 1, "assistant\n"]);
  });

  it("are never made of a message, nor of two", () => {
    const hostile = [
      ...names,
      ...names.map((name) => `${name}${name}`),
      "<|im_end|>x",
      "<<|im_end|>|im_end|>",
      "<\ue000|im_end|>",
      "\ue000\ue001</s>",
    ];
    for (const text of hostile) {
      expect(rendered(joining, [text])).toEqual([text]);
      const parts = rendered(chatFormats.chatml, [text]);
      expect([idsOf(parts), textOf(parts)]).toEqual([[1, 2, 1], `user\n${text}\nassistant\n`]);
    }
    for (const name of names) {
      for (let cut = 1; cut < name.length; cut++) {
        expect(rendered(joining, [name.slice(0, cut), name.slice(cut)]).join("")).toBe(name);
        expect(idsOf(rendered(joining, [name.slice(0, cut), name.slice(cut)]))).toEqual([]);
        expect(idsOf(rendered(`${name.slice(0, cut)}{{ messages[0].content }}`, [name.slice(cut)]))).toEqual([]);
        expect(
          idsOf(rendered(`{{ messages[0].content | trim }}${name.slice(cut)}`, [` ${name.slice(0, cut)} `])),
        ).toEqual([]);
      }
    }
  });

  it("leave a message's text as it was, whatever it holds", () => {
    const piece = fc.oneof(fc.constantFrom(...names, "<", "|", ">", "<|", "|>", "/s>", "\ue000", " "), fc.string());
    const text = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(""));
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 4 }), (contents) => {
        expect(rendered(joining, contents)).toEqual(contents.join("") === "" ? [] : [contents.join("")]);
        const parts = rendered(chatFormats.chatml, contents);
        expect(idsOf(parts)).toEqual([...contents.flatMap(() => [1, 2]), 1]);
        expect(textOf(parts)).toBe(`${contents.map((content) => `user\n${content}\n`).join("")}assistant\n`);
      }),
      bounded,
    );
  });

  it("cannot be kept out of a text that leaves no character to keep them out with", () => {
    const all = Array.from({ length: 0xf8ff - 0xe000 + 1 }, (_, i) => String.fromCharCode(0xe000 + i)).join("");
    expect(() => rendered(joining, [all])).toThrow(expect.objectContaining({ code: "PROMPT_MESSAGES" }));
  });
});

describe("text whose special tokens are taken", () => {
  it("is split at the longest name, in long texts as in short ones", async () => {
    const split = new SpecialNames(new Map([...specialTokens, ["<|im_end|>\n", 7]]));
    expect(split.split("<|im_end|>\n<s>a")).toEqual([7, 4, "a"]);
    const text = "ab </s>c".repeat(60_000);
    expect(await split.splitting(text)).toEqual(split.split(text));
    const edge = `${"a".repeat(2 ** 17 - 3)}<|im_end|>b`;
    expect(await split.splitting(edge)).toEqual(split.split(edge));
  });

  it("finds names that overlap wherever they lie in a long text", async () => {
    const split = new SpecialNames(new Map([...specialTokens, ["x<", 7]]));
    // "|>x" begins inside the first name and ends inside the second.
    const overlapping = "<|im_end|>x<";
    for (let before = 2 ** 17 - overlapping.length; before <= 2 ** 17; before++) {
      const [text, ...ids] = await split.splitting("a".repeat(before) + overlapping);
      expect([(text as string).length, ...ids]).toEqual([before, 2, 7]);
    }
  });
});
