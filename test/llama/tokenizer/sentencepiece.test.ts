import { describe, expect, it } from "vitest";
import { sentencePieceTokenizer } from "../../../src/llama/tokenizer/sentencepiece.ts";
import { pieceTypes } from "../../../src/llama/tokenizer/sentencepiece-model.ts";
import { bytes, integer, modelFile, usualPieces } from "./sentencepiece-fixture.ts";

const words = [
  "he",
  "ll",
  "hell",
  "\u2581hell",
  "\u2581hello",
  "\u2581",
  "h",
  "e",
  "l",
  "o",
  "中",
  "文",
  "\u2581\u2581",
];

function open(...parameters: Parameters<typeof modelFile>) {
  return sentencePieceTokenizer(modelFile(...parameters), "tokenizer.model");
}

const tokenizer = open(usualPieces(words));
const pieces = (text: string) => [...tokenizer.encode(text)].map((id) => tokenizer.piece(id));

describe("encoding with a SentencePiece model", () => {
  it("puts a space mark in front of every text that is not empty", () => {
    expect(pieces("hello")).toEqual(["\u2581hello"]);
    expect(pieces(" hello")).toEqual(["\u2581", "\u2581hello"]);
    expect(tokenizer.encode("")).toEqual(new Int32Array());
  });

  it("merges the pair with the best score first, the leftmost of equals", () => {
    // "ll" before "el" or "lo"; in "lll" the left pair.
    expect(pieces("lll")).toEqual(["\u2581", "ll", "l"]);
    const equal = open([...usualPieces([]), ...["\u2581", "a", "aa"].map((text) => ({ text, score: -1 }))]);
    expect([...equal.encode("aaa")].map((id) => equal.piece(id))).toEqual(["\u2581", "aa", "a"]);
  });

  it("merges through characters that are no pieces themselves", () => {
    const inner = open(usualPieces(["\u2581", "xy", "xyz"]));
    expect([...inner.encode("xyz")].map((id) => inner.piece(id))).toEqual(["\u2581", "xyz"]);
    expect([...inner.encode("x")]).toEqual([259, 3 + 0x78]);
  });

  it("spells a character it does not have as UTF-8 bytes, a lone surrogate as U+FFFD", () => {
    expect([...tokenizer.encode("😀")]).toEqual([264, 243, 162, 155, 131]);
    expect(tokenizer.encode("\ud83d")).toEqual(tokenizer.encode("\ufffd"));
  });

  it("gives one unknown token for a run of unknown characters without byte fallback", () => {
    const plain = open(usualPieces(words), { byteFallback: false });
    expect([...plain.encode("xyzh")]).toEqual([264, 0, 265]);
    expect(plain.decode(plain.encode("h x"))).toBe("h  \u2047 ");
  });

  it("never reads a control token from text", () => {
    expect([...tokenizer.encode("</s><s>")].filter((id) => id < 3)).toEqual([]);
    expect(tokenizer.decode(tokenizer.encode("</s><s>"))).toBe("</s><s>");
  });

  it("takes user-defined pieces whole, the longest first, before any merge", () => {
    const user = open(
      usualPieces(words, [
        { text: "[x]", type: pieceTypes.userDefined },
        { text: "[x][y]", type: pieceTypes.userDefined },
      ]),
    );
    const found = [...user.encode("he[x][y][x]ll")].map((id) => user.piece(id));
    expect(found).toEqual(["\u2581", "he", "[x][y]", "[x]", "ll"]);
  });

  it("gives the same ids again for words that it remembers", () => {
    const text = "hello hell 中文 hello hell 中文";
    expect(tokenizer.encode(text)).toEqual(open(usualPieces(words)).encode(text));
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  it("gives the ids of the quadratic definition for texts without spaces too", () => {
    const alphabet = ["h", "e", "l", "o", " ", "中", "x"];
    let state = 7;
    for (let round = 0; round < 300; round++) {
      let text = "";
      for (let i = 0; i < 40; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        text += alphabet[(state >>> 16) % alphabet.length];
      }
      expect(pieces(text)).toEqual(mergeNaively(text));
    }
  });
});

/** The definition: again and again the best neighbouring pair. Characters that are no piece become byte pieces. */
function mergeNaively(text: string): string[] {
  const symbols = [...`\u2581${text.replaceAll(" ", "\u2581")}`];
  for (;;) {
    let best = -1;
    let bestScore = words.length;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const score = words.indexOf(symbols[i]! + symbols[i + 1]!);
      if (score >= 0 && score < bestScore) [best, bestScore] = [i, score];
    }
    if (best < 0) break;
    symbols.splice(best, 2, symbols[best]! + symbols[best + 1]!);
  }
  return symbols.flatMap((symbol) =>
    words.includes(symbol)
      ? [symbol]
      : [...Buffer.from(symbol)].map((byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
  );
}

describe("a SentencePiece model that cannot be used", () => {
  const refused = (file: Uint8Array) => {
    try {
      sentencePieceTokenizer(file, "folder/tokenizer.model");
    } catch (error) {
      return error as { code: string; message: string };
    }
    throw new Error("it was opened");
  };
  it.each([
    ["a unigram model", modelFile(usualPieces(words), { modelType: 1 }), "TOKENIZER_UNSUPPORTED", "unigram"],
    [
      "a normaliser that changes text",
      modelFile(usualPieces(words), { normalizer: "nmt_nfkc", charsmap: "x" }),
      "TOKENIZER_UNSUPPORTED",
      "nmt_nfkc",
    ],
    [
      "removal of spaces",
      modelFile(usualPieces(words), { removeExtraWhitespaces: true }),
      "TOKENIZER_UNSUPPORTED",
      "remove_extra_whitespaces",
    ],
    ["a missing byte piece", modelFile(usualPieces(words).toSpliced(3, 1)), "TOKENIZER_CORRUPT", "byte 0"],
    ["a piece given twice", modelFile(usualPieces(["a", "a"])), "TOKENIZER_CORRUPT", "occurs twice"],
    ["an empty piece", modelFile(usualPieces([""])), "TOKENIZER_CORRUPT", "piece 259"],
    ["no pieces", modelFile([]), "TOKENIZER_CORRUPT", "no pieces"],
    ["a truncated file", modelFile(usualPieces(words)).subarray(0, 1999), "TOKENIZER_CORRUPT", "past the end"],
    ["a file cut between two pieces", modelFile(usualPieces([])).subarray(0, 16), "TOKENIZER_CORRUPT", "cut off"],
    ["a field longer than the file", Uint8Array.of(10, 255, 255, 255, 255, 15), "TOKENIZER_CORRUPT", "past the end"],
    ["a number without end", new Uint8Array(20).fill(255), "TOKENIZER_CORRUPT", "ten bytes"],
    ["field number 0", integer(0, 1), "TOKENIZER_CORRUPT", "field has number 0"],
    ["a piece that is not UTF-8", bytes(1, bytes(1, Uint8Array.of(0xff))), "TOKENIZER_CORRUPT", "not a SentencePiece"],
  ])("is refused: %s", (_, file, code, text) => {
    const error = refused(file);
    expect(error.code).toBe(code);
    expect(error.message).toContain("folder/tokenizer.model: ");
    expect(error.message).toContain(text);
  });
});
