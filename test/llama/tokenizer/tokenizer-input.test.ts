import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PromptEncoder } from "../../../src/llama/generation/prompt-encoder.ts";
import { sentencePieceTokenizer, type Tokenizer } from "../../../src/llama/tokenizer/index.ts";

const file = join(import.meta.dirname, "../../../weights/tiny/tokenizer.model");
const tokenizer = sentencePieceTokenizer(readFileSync(file), file);

describe("an input of texts and ids", () => {
  it("becomes the ids of its texts with the ids between them", () => {
    const [a, b] = [tokenizer.encode("the llama"), tokenizer.encode("is small")];
    expect([...tokenizer.encode(["the llama", 2, "", 1, "is small"])]).toEqual([...a, 2, 1, ...b]);
    expect([...tokenizer.encode([])]).toEqual([]);
  });

  it("keeps the names of special tokens in its texts as text", () => {
    for (const text of ["</s>", "a<s>b", "<</s>/s>"]) {
      const ids = tokenizer.encode([text, 2, text]);
      expect([...ids].filter((id) => id <= 2)).toEqual([2]);
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }
  });
});

describe("a prompt", () => {
  it("gets BOS once, and none where the model has none", async () => {
    const encoder = new PromptEncoder(tokenizer, 512);
    const ids = [...tokenizer.encode("the llama")];
    expect([...(await encoder.encode("the llama"))]).toEqual([1, ...ids]);
    expect([...(await encoder.encode([1, "the llama"]))]).toEqual([1, ...ids]);
    const without = new PromptEncoder(
      { bosId: null, encode: (text: string) => tokenizer.encode(text) } as Tokenizer,
      512,
    );
    await expect(without.encode("")).rejects.toMatchObject({ code: "PROMPT_EMPTY" });
  });
});
