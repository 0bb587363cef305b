import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { jsonTokenizer } from "../../../src/llama/tokenizer/huggingface-json.ts";
import type { TokenizerConfig } from "../../../src/llama/tokenizer/tokenizer-config.ts";

interface Case {
  readonly name: string;
  readonly base: string | null;
  readonly definition: { readonly model: object; readonly added_tokens: object[] };
  /** First text and step. */
  readonly texts: readonly [number, number];
  readonly ids: readonly string[];
  readonly decoded: readonly (string | null)[];
}

/** From the tokenizers library, by bench/tokenizers-golden.py. */
const golden: { texts: string[]; cases: Case[] } = JSON.parse(
  readFileSync(join(import.meta.dirname, "fixtures/published.json"), "utf8"),
);
const nothingSaid: TokenizerConfig = {
  bos: null,
  eos: null,
  addBos: false,
  addEos: null,
  className: null,
  legacy: null,
  addPrefixSpace: null,
  added: [],
};

function open({ base, definition }: Case) {
  const model = golden.cases.find(({ name }) => name === base)?.definition.model ?? {};
  const whole = { ...definition, model: { ...model, ...definition.model } };
  // Any token serves as the end of a text: none is added here.
  const eos = Object.keys((whole.model as { vocab: object }).vocab)[0]!;
  return jsonTokenizer(JSON.stringify(whole), "tokenizer.json", { ...nothingSaid, eos });
}

describe("ids and texts are the tokenizers library's", () => {
  it.each(golden.cases.map((golden) => [golden.name, golden] as const))("%s", (_, wanted) => {
    const tokenizer = open(wanted);
    const [first, step] = wanted.texts;
    const texts = golden.texts.filter((_, index) => index % step === first % step);
    expect(texts.length).toBe(wanted.ids.length);
    for (const [index, text] of texts.entries()) {
      const ids = wanted.ids[index] === "" ? [] : wanted.ids[index]!.split(" ").map(Number);
      expect([...tokenizer.encode(text)], JSON.stringify(text)).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(wanted.decoded[index] ?? text);
    }
  });
});
