import { byteName } from "../../src/llama/tokenizer/byte-spelling.ts";
import { type Piece, pieceTypes } from "../../src/llama/tokenizer/sentencepiece-model.ts";
import { sentencePieceBytes } from "../../src/llama/tokenizer/write-sentencepiece.ts";

/**
 * The bytes of a tokenizer.model as LLaMA's is: ids 0 <unk>, 1 <s>, 2 </s>, 3 to 258 the bytes, then `pieces`. A piece's
 * score is minus its place, so that encoding merges in the order of training.
 */
export function sentencePieceModel(pieces: readonly string[]): Uint8Array {
  const entries: Piece[] = [
    { text: "<unk>", score: 0, type: pieceTypes.unknown },
    { text: "<s>", score: 0, type: pieceTypes.control },
    { text: "</s>", score: 0, type: pieceTypes.control },
    ...Array.from({ length: 256 }, (_, byte) => ({ text: byteName(byte), score: 0, type: pieceTypes.byte })),
    ...pieces.map((text, place) => ({ text, score: -place, type: pieceTypes.normal })),
  ];
  const ends = { unkId: 0, bosId: 1, eosId: 2 };
  return sentencePieceBytes(
    { pieces: entries, byteFallback: true, ...ends, unkSurface: " \u2047 ", addDummyPrefix: true },
    true,
  );
}
