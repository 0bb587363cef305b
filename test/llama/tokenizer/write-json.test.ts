import { describe, expect, it } from "vitest";
import { BpeTokenizer } from "../../../src/llama/tokenizer/bpe-tokenizer.ts";
import { byteCharacters } from "../../../src/llama/tokenizer/byte-spelling.ts";
import { ggufTokenizer } from "../../../src/llama/tokenizer/gguf.ts";
import { jsonTokenizer } from "../../../src/llama/tokenizer/huggingface-json.ts";
import { tokenizerJson } from "../../../src/llama/tokenizer/write-json.ts";

const merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o"];
const tokens = ["<|end|>", ...byteCharacters, ...merges.map((merge) => merge.replace(" ", "")), "<|begin|>"];

/** A byte-level tokenizer as a GGUF file describes it. */
function tokenizer(addBos: boolean): BpeTokenizer {
  const made = ggufTokenizer({
    model: "gpt2",
    pre: "smollm",
    tokens,
    tokenTypes: tokens.map((token) => (token.startsWith("<|") ? 3 : 1)),
    scores: null,
    merges,
    bosId: tokens.length - 1,
    eosId: 0,
    addBos,
    addSpacePrefix: false,
  });
  if (!(made instanceof BpeTokenizer)) throw new Error("another kind");
  return made;
}

describe("a tokenizer.json that is written", () => {
  it.each([true, false])("is read as the tokenizer that it was made of, with BOS %s", (addBos) => {
    const made = tokenizer(addBos);
    const files = { bos: "<|begin|>", eos: "<|end|>", added: [], className: null };
    const config = { ...files, addBos: null, addEos: null, legacy: null, addPrefixSpace: null };
    const read = jsonTokenizer(JSON.stringify(tokenizerJson(made)), "tokenizer.json", config);
    for (const text of ["hello world 2024", "  \n\nhé <|end|> 你", ""]) {
      expect(read.encode(text)).toEqual(made.encode(text));
    }
    expect(read.specialTokens).toEqual(made.specialTokens);
    expect(read.eosId).toBe(0);
  });

  it("lists added tokens in the vocabulary, where the tokenizers library looks for their ids", () => {
    const { model } = tokenizerJson(tokenizer(true)) as { model: { vocab: Record<string, number> } };
    expect(model.vocab["<|begin|>"]).toBe(tokens.length - 1);
  });
});
