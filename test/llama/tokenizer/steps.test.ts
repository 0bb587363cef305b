import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { jsonTokenizer } from "../../../src/llama/tokenizer/huggingface-json.ts";
import { sentencePieceTokenizer, type Tokenizer } from "../../../src/llama/tokenizer/index.ts";
import { PairTable } from "../../../src/llama/tokenizer/pair-table.ts";

const golden = JSON.parse(readFileSync(join(import.meta.dirname, "fixtures/published.json"), "utf8"));
const said = { bos: null, addBos: false, addEos: null, className: null, legacy: null, addPrefixSpace: null, added: [] };
const model = join(import.meta.dirname, "../../../weights/tiny/tokenizer.model");

function published(name: string): Tokenizer {
  const { definition } = golden.cases.find((golden: { name: string }) => golden.name === name);
  const [{ content: eos }] = definition.added_tokens;
  return jsonTokenizer(JSON.stringify(definition), `${name}.json`, { ...said, eos });
}

const tokenizers: [string, Tokenizer][] = [
  ["SentencePiece", sentencePieceTokenizer(readFileSync(model), model)],
  ...["LLaMA-2", "LLaMA-3", "Qwen3", "DeepSeek-V3", "SmolLM2"].map((name): [string, Tokenizer] => [
    name,
    published(name),
  ]),
];
const texts: [string, string][] = [
  ["letters in one word", "abcdefghijklmnopqrstuvwxyz".repeat(8000)],
  ["Chinese", "\u7f8a".repeat(200_000)],
  ["spaces", " ".repeat(200_000)],
  ["marks", "e\u0301\u0323".repeat(70_000)],
  ["beginnings of added tokens", "<|reserved_special_token".repeat(8000)],
  ["words", "the llama ".repeat(20_000)],
];

afterEach(() => void vi.restoreAllMocks());

/** Pairs of symbols looked up in a step: a step is work of at most so many of them. */
const mostPairs = 25_000;

describe("a step of encoding a long text looks at few pairs of symbols, and no step reads more than a part of it", () => {
  it.each(
    tokenizers.flatMap(([kind, tokenizer]) => texts.map(([name, text]) => [kind, name, tokenizer, text] as const)),
  )("%s: %s", (_kind, _name, tokenizer, text) => {
    const find = vi.spyOn(PairTable.prototype, "find");
    let steps = 0;
    let most = 0;
    const encoding = tokenizer.encoding(text);
    for (;;) {
      const { done } = encoding.next();
      most = Math.max(most, find.mock.calls.length);
      find.mockClear();
      if (done) break;
      steps++;
    }
    expect(most).toBeLessThan(mostPairs);
    expect(steps).toBeGreaterThan(text.length / 65_536);
  });
});
