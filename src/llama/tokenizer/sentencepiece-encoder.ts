import { type Steps, wordsPerStep } from "../time-slices.ts";
import type { IdBuffer } from "./id-buffer.ts";
import { Merger, shortWord } from "./merger.ts";
import type { PieceMerges } from "./pair-table.ts";
import { byteIds, type PieceIndex } from "./piece-index.ts";
import type { SentencePieceModel } from "./sentencepiece-model.ts";
import { isSpace, SpaceFinder, spaceMark } from "./space-marks.ts";
import { characterLength } from "./surrogates.ts";
import { TokenTrie } from "./token-trie.ts";
import { WordCache } from "./word-cache.ts";

/** Texts to the ids of a SentencePiece model's pieces. */
export class PieceEncoder {
  readonly #model: SentencePieceModel;
  readonly #merges: PieceMerges;
  readonly #merger: Merger;
  /** Byte -> id, with byte fallback. */
  readonly #byteIds: Int32Array | null;
  readonly #userDefined: TokenTrie<number>;
  readonly #wordsAreApart: boolean;
  readonly #cache = new WordCache();
  readonly #symbols = new Int32Array(shortWord);

  /** Throws TOKENIZER_CORRUPT naming `file` when a byte piece is missing. */
  constructor(model: SentencePieceModel, index: PieceIndex, merges: PieceMerges, file: string) {
    this.#model = model;
    this.#merges = merges;
    this.#merger = new Merger(merges.table);
    this.#byteIds = model.byteFallback ? byteIds(model, file) : null;
    this.#userDefined = new TokenTrie(index.userDefined, new Map([[spaceMark.charCodeAt(0), 0x20]]));
    this.#wordsAreApart = index.wordsAreApart;
  }

  /** Whether a character without a piece becomes its bytes. */
  get fallsBack(): boolean {
    return this.#byteIds !== null;
  }

  /** A well-formed text, its prefix included. */
  *encoding(text: string, ids: IdBuffer): Steps<void> {
    const spaces = new SpaceFinder(text);
    let from = 0;
    for (const match of this.#userDefined.matches(text)) {
      if (match === null) yield;
      else {
        yield* this.#encodingWords(text, spaces, from, match.start, ids);
        ids.push(match.value);
        from = match.end;
      }
    }
    yield* this.#encodingWords(text, spaces, from, text.length, ids);
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
      const word = text.slice(start, stop);
      if (!this.#cache.appendKnown(word, ids)) yield* this.#encodingWord(word, ids);
      if (++words % wordsPerStep === 0) yield;
      start = stop;
    }
  }

  *#encodingWord(word: string, ids: IdBuffer): Steps<void> {
    const start = ids.length;
    yield* this.#merging(word, ids);
    this.#cache.keep(word, ids, start);
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
    count = yield* this.#merger.merging(symbols, count, isLong);
    const { extras, firstExtra } = this.#merges;
    for (let i = 0; i < count; i++) {
      const symbol = symbols[i]!;
      if (symbol >= 0 && symbol < firstExtra) ids.push(symbol);
      else this.#fallBack(symbol < 0 ? String.fromCodePoint(~symbol) : extras[symbol - firstExtra]!, ids);
      if (isLong && i % shortWord === 0) yield;
    }
  }

  #fallBack(character: string, ids: IdBuffer): void {
    if (this.#byteIds === null) ids.push(this.#model.unkId);
    else for (const byte of Buffer.from(character)) ids.push(this.#byteIds[byte]!);
  }
}
