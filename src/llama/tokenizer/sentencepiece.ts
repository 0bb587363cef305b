import { CodedError } from "../../errors/index.ts";
import { runNow, type Steps, wordsPerStep } from "../time-slices.ts";
import { longestFirst } from "./added-tokens.ts";
import { type Detokenization, decodeAll, type Surface, streamDecoder } from "./detokenizer.ts";
import { IdBuffer } from "./id-buffer.ts";
import { Merger, shortWord } from "./merger.ts";
import { characterLength, mergesOfPieces, type PieceMerges } from "./pair-table.ts";
import { pieceTypes, readSentencePieceModel, type SentencePieceModel } from "./sentencepiece-model.ts";
import { isSpace, SpaceFinder, spaceMark } from "./space-marks.ts";
import type { StreamDecoder, Tokenizer } from "./tokenizer.ts";
import { inputLength, inputParts, type TokenizerInput } from "./tokenizer-input.ts";

const innerSpaceMark = /[^\u2581]\u2581/;

/** Words repeat: each is merged once and remembered while it is short and there is room. */
const cachedWords = 65_536;
const cachedWordLength = 32;

/**
 * SentencePiece BPE as LLaMA 1 and 2 use it: same ids and text as the sentencepiece library.
 * Kudo and Richardson 2018, https://github.com/google/sentencepiece
 */
export class SentencePieceTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number;
  readonly eosId: number;
  readonly unkId: number;
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly #model: SentencePieceModel;
  readonly #merges: PieceMerges;
  readonly #merger: Merger;
  readonly #rules: Detokenization;
  /** Byte -> id, with byte fallback. */
  readonly #byteIds: Int32Array | null;
  /** Finds user-defined pieces, the longest first; null when there are none. */
  readonly #userDefined: RegExp | null;
  readonly #userDefinedIds: ReadonlyMap<string, number>;
  readonly #wordsAreApart: boolean;
  readonly #cache = new Map<string, Int32Array>();
  readonly #symbols = new Int32Array(shortWord);

  /** Throws TOKENIZER_CORRUPT naming `file` when a byte piece is missing, TOKENIZER_UNSUPPORTED without BOS or EOS. */
  constructor(model: SentencePieceModel, index: PieceIndex, merges: PieceMerges, file: string) {
    this.#model = model;
    this.vocabSize = model.pieces.length;
    if (model.bosId < 0 || model.eosId < 0) {
      throw new CodedError("TOKENIZER_UNSUPPORTED", `${file}: has no token for the beginning or the end of a text`);
    }
    this.bosId = model.bosId;
    this.eosId = model.eosId;
    this.unkId = model.unkId;
    this.specialTokens = new Map(
      model.pieces.flatMap(({ text, type }, id) => (type === pieceTypes.control ? [[text, id] as const] : [])),
    );
    this.#userDefinedIds = index.userDefined;
    this.#wordsAreApart = index.wordsAreApart;
    this.#merges = merges;
    this.#merger = new Merger(this.#merges.table);
    this.#userDefined = longestFirst([...index.userDefined.keys()], `[ ${spaceMark}]`);
    this.#byteIds = model.byteFallback ? byteIds(model, file) : null;
    this.#rules = detokenization(model);
  }

  encode(input: TokenizerInput): Int32Array {
    return runNow(this.encoding(input));
  }

  *encoding(input: TokenizerInput): Steps<Int32Array> {
    const parts = inputParts(input);
    const ids = new IdBuffer(inputLength(input) + parts.length);
    for (const part of parts) {
      if (typeof part === "number") ids.push(part);
      else yield* this.#encodingText(part, ids);
    }
    return this.#byteIds === null ? yield* fusingRuns(ids.finish(), this.#model.unkId) : ids.finish();
  }

  *#encodingText(text: string, ids: IdBuffer): Steps<void> {
    const whole = (this.#model.addDummyPrefix ? " " : "") + text.toWellFormed();
    const spaces = new SpaceFinder(whole);
    let from = 0;
    if (this.#userDefined !== null) {
      for (const match of whole.matchAll(this.#userDefined)) {
        yield* this.#encodingWords(whole, spaces, from, match.index, ids);
        ids.push(this.#userDefinedIds.get(match[0].replaceAll(" ", spaceMark))!);
        from = match.index + match[0].length;
      }
    }
    yield* this.#encodingWords(whole, spaces, from, whole.length, ids);
  }

  decode(ids: Iterable<number>): string {
    return decodeAll(this.#rules, ids);
  }

  piece(id: number): string | null {
    return this.#model.pieces[id]?.text ?? null;
  }

  decoder(promptIds?: Iterable<number>): StreamDecoder {
    return streamDecoder(this.#rules, promptIds);
  }

  /** text[from .. end) word by word; a word is a run of spaces and what follows it. */
  *#encodingWords(text: string, spaces: SpaceFinder, from: number, end: number, ids: IdBuffer): Steps<void> {
    let words = 0;
    for (let start = from; start < end; ) {
      let stop = end;
      if (this.#wordsAreApart) {
        let first = start;
        while (first < end && isSpace(text.charCodeAt(first))) if (++first % shortWord === 0) yield;
        stop = Math.min(spaces.next(first), end);
      }
      yield* this.#encodingWord(text.slice(start, stop), ids);
      if (++words % wordsPerStep === 0) yield;
      start = stop;
    }
  }

  *#encodingWord(word: string, ids: IdBuffer): Steps<void> {
    const known = this.#cache.get(word);
    if (known !== undefined) {
      ids.append(known);
      return;
    }
    const start = ids.length;
    yield* this.#merging(word, ids);
    if (word.length > cachedWordLength) return;
    if (this.#cache.size >= cachedWords) this.#cache.clear();
    this.#cache.set(word, ids.since(start));
  }

  *#merging(word: string, ids: IdBuffer): Steps<void> {
    // A step ends only inside a long word, whose symbols are its own: another text may be encoded meanwhile.
    const isLong = word.length > shortWord;
    const symbols = isLong ? new Int32Array(word.length) : this.#symbols;
    let count = 0;
    for (let i = 0; i < word.length; ) {
      const length = characterLength(word, i);
      const character = isSpace(word.charCodeAt(i)) ? spaceMark : word.substr(i, length);
      // A character that no piece contains is kept as its negated code point: it merges with nothing.
      symbols[count++] = this.#merges.characters.get(character) ?? ~character.codePointAt(0)!;
      i += length;
      if (isLong && count % shortWord === 0) yield;
    }
    count = yield* this.#merger.merging(symbols, count);
    for (let i = 0; i < count; i++) {
      const symbol = symbols[i]!;
      if (symbol >= 0 && symbol < this.vocabSize) ids.push(symbol);
      else
        this.#fallBack(symbol < 0 ? String.fromCodePoint(~symbol) : this.#merges.extras[symbol - this.vocabSize]!, ids);
      if (isLong && i % shortWord === 0) yield;
    }
  }

  #fallBack(character: string, ids: IdBuffer): void {
    if (this.#byteIds === null) ids.push(this.#model.unkId);
    else for (const byte of Buffer.from(character)) ids.push(this.#byteIds[byte]!);
  }
}

/** Opens the bytes of a `tokenizer.model`. `file` is named in errors. */
export function sentencePieceTokenizer(bytes: Uint8Array, file: string): SentencePieceTokenizer {
  return runNow(openingSentencePiece(bytes, file));
}

/** The same in steps. */
export function* openingSentencePiece(bytes: Uint8Array, file: string): Steps<SentencePieceTokenizer> {
  const model = yield* readSentencePieceModel(bytes, file);
  const index = yield* indexPieces(model, file);
  const rank = rankByScore(model);
  yield;
  const merges = yield* mergesOfPieces(index.ids, rank, model.pieces.length);
  return new SentencePieceTokenizer(model, index, merges, file);
}

interface PieceIndex {
  /** Of the pieces that text can become. */
  readonly ids: ReadonlyMap<string, number>;
  /** Those of them that are taken whole, before any merge. */
  readonly userDefined: ReadonlyMap<string, number>;
  /** No piece has a space mark after another character, so no merge reaches over the beginning of a word. */
  readonly wordsAreApart: boolean;
}

/** Throws TOKENIZER_CORRUPT naming `file` when two pieces are equal. */
function* indexPieces(model: SentencePieceModel, file: string): Steps<PieceIndex> {
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
    wordsAreApart &&= !innerSpaceMark.test(piece.text);
  }
  return { ids, userDefined, wordsAreApart };
}

/** Position of a piece's score among all, the best first; equal scores share it, so the leftmost pair decides. */
function rankByScore({ pieces }: SentencePieceModel): (id: number) => number {
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

function byteIds({ pieces }: SentencePieceModel, file: string): Int32Array {
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

function detokenization({ pieces, unkSurface, addDummyPrefix }: SentencePieceModel): Detokenization {
  const surface = (id: number): Surface => {
    const piece = pieces[id];
    if (piece === undefined || piece.type === pieceTypes.control) return null;
    if (piece.type === pieceTypes.unknown) return unkSurface;
    if (piece.type === pieceTypes.byte) return Uint8Array.of(Number.parseInt(piece.text.slice(3, 5), 16));
    return piece.text.replaceAll(spaceMark, " ");
  };
  return {
    surface,
    beginsWithSpaceMark: (id) =>
      pieces[id]?.type !== pieceTypes.unknown && pieces[id]?.text.startsWith(spaceMark) === true,
    leadingSpace: addDummyPrefix ? "piece" : "none",
    replacement: "byte",
    hiddenEndsRun: true,
  };
}

/** Without byte fallback, neighbouring unknown characters are one unknown token. */
function* fusingRuns(ids: Int32Array, unkId: number): Steps<Int32Array> {
  let kept = 0;
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] !== unkId || i === 0 || ids[i - 1] !== unkId) ids[kept++] = ids[i]!;
    if (i % shortWord === shortWord - 1) yield;
  }
  return ids.slice(0, kept);
}
