import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { sentencePieceTokenizer } from "../../../src/llama/tokenizer/sentencepiece.ts";
import type { Tokenizer } from "../../../src/llama/tokenizer/tokenizer.ts";
import { referenceData } from "../../reference-data.mjs";

const files: Record<string, string> = {
  stories260k: "data/stories260k/hf/tokenizer.model",
  llama: "data/tokenizers/llama/tokenizer.model",
  "llama-zh": "data/tokenizers/llama-zh/tokenizer.model",
};

/** Numbers below `bound` that are the same in every run. */
function* seededNumbers(bound: number, count: number): Generator<number> {
  let state = 12345;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield Math.floor((state / 2 ** 32) * bound);
  }
}

function streamed(tokenizer: Tokenizer, ids: Iterable<number>): string {
  const decoder = tokenizer.decoder();
  let text = "";
  for (const id of ids) {
    const part = decoder.push(id);
    if (/\p{Surrogate}/u.test(part)) throw new Error(`token ${id} gave half of a character`);
    text += part;
  }
  return text + decoder.flush();
}

// Published vocabularies and their reference ids are not part of this repository.
describe.skipIf(!existsSync(referenceData))("published SentencePiece vocabularies", () => {
  const golden = existsSync(referenceData)
    ? JSON.parse(readFileSync(join(referenceData, "golden/tokenizer.json"), "utf8"))
    : {};
  for (const [name, file] of Object.entries(files)) {
    it(`${name}: ids and decoded text are the reference's, and streaming gives the same text`, () => {
      const tokenizer = sentencePieceTokenizer(readFileSync(join(referenceData, file)), file);
      expect(golden[name].length).toBeGreaterThan(5);
      for (const { text, ids, decoded } of golden[name]) {
        expect([...tokenizer.encode(text)]).toEqual(ids);
        expect(tokenizer.decode(ids)).toBe(decoded);
        expect(streamed(tokenizer, ids)).toBe(decoded);
      }
    });

    it(`${name}: a replacement character is streamed only where the whole decode has one`, () => {
      const tokenizer = sentencePieceTokenizer(readFileSync(join(referenceData, file)), file);
      const ids = [...seededNumbers(tokenizer.vocabSize, 5_000)];
      // Half of the ids from the byte pieces, so that most runs are broken characters.
      const bytes = [...seededNumbers(256, 5_000)].map((byte, i) => (i % 2 === 0 ? ids[i]! : byte + 3));
      for (const sequence of [ids, bytes]) expect(streamed(tokenizer, sequence)).toBe(tokenizer.decode(sequence));
    });
  }
});
