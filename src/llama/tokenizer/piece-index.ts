import { CodedError } from "../../errors/index.ts";
import type { Steps } from "../time-slices.ts";
import { pieceTypes, type SentencePieceModel } from "./sentencepiece-model.ts";
import { hasInnerSpace } from "./space-marks.ts";

export interface PieceIndex {
  /** Of the pieces that text can become. */
  readonly ids: ReadonlyMap<string, number>;
  /** Those of them that are taken whole, before any merge. */
  readonly userDefined: ReadonlyMap<string, number>;
  /** No piece has a space mark after another character, so no merge reaches over the beginning of a word. */
  readonly wordsAreApart: boolean;
}

/** Throws TOKENIZER_CORRUPT naming `file` when two pieces are equal. */
export function* indexPieces(model: SentencePieceModel, file: string): Steps<PieceIndex> {
  const ids = new Map<string, number>();
  const userDefined = new Map<string, number>();
  let wordsAreApart = true;
  const texts = new Set<string>();
  for (const [id, piece] of model.pieces.entries()) {
    if (id % 64 === 0) yield;
    if (texts.has(piece.text)) {
      throw new CodedError("TOKENIZER_CORRUPT", `${file}: piece ${id} "${piece.text}" occurs twice`);
    }
    texts.add(piece.text);
    if (piece.type === pieceTypes.userDefined) userDefined.set(piece.text, id);
    else if (piece.type !== pieceTypes.normal) continue;
    ids.set(piece.text, id);
    wordsAreApart &&= !hasInnerSpace(piece.text);
  }
  return { ids, userDefined, wordsAreApart };
}

/** Position of a piece's score among all, the best first; equal scores share it, so the leftmost pair decides. */
export function rankByScore({ pieces }: SentencePieceModel): (id: number) => number {
  const falling = new Float64Array(pieces.length);
  for (let id = 0; id < pieces.length; id++) falling[id] = -pieces[id]!.score;
  falling.sort();
  // A rank is the number of better scores, found by bisection: a map of so many numbers takes longer to build.
  return (id) => {
    let low = 0;
    for (let high = pieces.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (falling[middle]! < -pieces[id]!.score) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

/** Byte -> id of its piece. */
export function byteIds({ pieces }: SentencePieceModel, file: string): Int32Array {
  const ids = new Int32Array(256).fill(-1);
  for (const [id, piece] of pieces.entries()) {
    if (piece.type === pieceTypes.byte) ids[byteOf(piece.text, id, file)] = id;
  }
  const missing = ids.indexOf(-1);
  if (missing >= 0) throw new CodedError("TOKENIZER_CORRUPT", `${file}: has no piece for byte ${missing}`);
  return ids;
}

function byteOf(text: string, id: number, file: string): number {
  const digits = /^<0x([0-9A-F]{2})>$/.exec(text)?.[1];
  if (digits === undefined) {
    throw new CodedError("TOKENIZER_CORRUPT", `${file}: byte piece ${id} is "${text}", which names no byte`);
  }
  return Number.parseInt(digits, 16);
}
