import { describe, expect, it } from "vitest";
import { trainBytePairs } from "../../scripts/base-model/byte-pair-encoding.ts";
import { corpus } from "../../scripts/base-model/corpus.ts";
import { sentencePieceModel } from "../../scripts/base-model/sentencepiece-file.ts";
import { sentencePieceTokenizer } from "../../src/llama/tokenizer/sentencepiece.ts";

const texts = Array.from(corpus(400, 7), ({ prompt, output }) => prompt + output);
const pieces = trainBytePairs(texts, { size: 700, alphabet: ["▁"], rarestCharacter: 1 });
const tokenizer = sentencePieceTokenizer(sentencePieceModel(pieces), "tokenizer.model");

describe("the tokenizer trainer", () => {
  it("writes a file that the SentencePiece reader takes, with LLaMA's special pieces", () => {
    expect(tokenizer.vocabSize).toBe(259 + 700);
    expect([tokenizer.bosId, tokenizer.eosId]).toEqual([1, 2]);
    expect(tokenizer.piece(3 + 0x0a)).toBe("<0x0A>");
  });

  it("gives the texts it was trained on back", () => {
    for (const text of texts) expect(tokenizer.decode([...tokenizer.encode(text)])).toBe(text);
  });

  it("spells what it has never seen in bytes", () => {
    const ids = [...tokenizer.encode("鑫😀")];
    expect(ids.slice(1).every((id) => id >= 3 && id < 259)).toBe(true);
    expect(tokenizer.decode(ids)).toBe("鑫😀");
  });

  it("joins letters into words and leaves digits and Chinese characters apart", () => {
    expect([...tokenizer.encode("Below is an instruction")]).toHaveLength(4);
    expect([...tokenizer.encode("中国10")]).toHaveLength(5);
    expect(pieces.filter((piece) => /\p{Script=Han}|\d/u.test(piece) && [...piece].length > 1)).toEqual([]);
  });
});

describe("the corpus", () => {
  it("is the same for the same seed and another for another", () => {
    expect([...corpus(50, 7)]).toEqual([...corpus(400, 7)].slice(0, 50));
    expect([...corpus(50, 8)]).not.toEqual([...corpus(50, 7)]);
  });
});
