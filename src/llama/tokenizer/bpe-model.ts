import type { Steps } from "../time-slices.ts";
import { byteCharacters, byteName, spell } from "./byte-spelling.ts";
import type { IdBuffer } from "./id-buffer.ts";
import { Merger, shortWord } from "./merger.ts";
import { hasInnerSpace, spaceMark } from "./space-marks.ts";
import { isHighSurrogate } from "./surrogates.ts";
import type { TokenizerJson } from "./tokenizer-json.ts";
import { cachedWordLength, WordCache } from "./word-cache.ts";

const none = -1;

/** Byte pair encoding of words, as the tokenizers library does it. Sennrich et al. 2016, https://arxiv.org/abs/1508.07909 */
export class BpeModel {
  readonly #json: TokenizerJson;
  readonly #isByteLevel: boolean;
  readonly #merger: Merger;
  /** Ids of the bytes' characters; of the characters below U+10000. */
  readonly #symbolIds: Int32Array;
  readonly #longestPiece: number;
  /** No merge reaches over the beginning of a word that a space mark begins. */
  readonly #wordsAreApart: boolean;
  readonly #fallbackIds: readonly number[];
  readonly #cache = new WordCache();
  readonly #symbols = new Int32Array(shortWord);

  /** Every byte has a piece, so that no text comes to the unknown token. */
  readonly isComplete: boolean;

  constructor(json: TokenizerJson, isByteLevel: boolean) {
    this.#json = json;
    this.#isByteLevel = isByteLevel;
    this.#merger = new Merger(json.merges);
    this.#longestPiece = json.pieces.reduce((most, piece = "") => Math.max(most, piece.length), 0);
    const { vocabulary } = json;
    if (isByteLevel)
      this.#symbolIds = Int32Array.from(byteCharacters, (character) => vocabulary.get(character) ?? none);
    else {
      this.#symbolIds = new Int32Array(0x10000).fill(none);
      for (const [piece, id] of vocabulary) if (piece.length === 1) this.#symbolIds[piece.charCodeAt(0)] = id;
    }
    this.#fallbackIds = Array.from({ length: 256 }, (_, byte) => vocabulary.get(byteName(byte)) ?? none);
    const needed = isByteLevel ? [...this.#symbolIds] : json.byteFallback ? this.#fallbackIds : [none];
    this.isComplete = !needed.includes(none);
    this.#wordsAreApart = !isByteLevel && !json.ignoreMerges && ![...vocabulary.keys()].some(hasInnerSpace);
  }

  /** A word that is not known yet. */
  *encoding(word: string, ids: IdBuffer): Steps<void> {
    if (!this.#wordsAreApart || word.length <= cachedWordLength) {
      yield* this.#encodingWord(word, ids);
      return;
    }
    for (let start = 0, stop: number, words = 1; start < word.length; start = stop, words++) {
      let first = start;
      while (word.charCodeAt(first) === 0x2581) if (++first % shortWord === 0) yield;
      stop = word.indexOf(spaceMark, first);
      if (stop < 0) stop = word.length;
      const part = word.slice(start, stop);
      if (!this.appendKnown(part, ids)) yield* this.#encodingWord(part, ids);
      if (words % 64 === 0) yield;
    }
  }

  /** Most words are known: they need no steps. */
  appendKnown(word: string, ids: IdBuffer): boolean {
    return this.#cache.appendKnown(word, ids);
  }

  *#encodingWord(word: string, ids: IdBuffer): Steps<void> {
    const start = ids.length;
    const whole = this.#wholePiece(word);
    if (whole !== undefined) ids.push(whole);
    else yield* this.#merging(word, ids);
    this.#cache.keep(word, ids, start);
  }

  /** With ignore_merges a word that is a piece becomes that piece, whatever the merges would give. */
  #wholePiece(word: string): number | undefined {
    if (!this.#json.ignoreMerges || word.length > this.#longestPiece) return undefined;
    return this.#json.vocabulary.get(this.#isByteLevel ? spell(Buffer.from(word)) : word);
  }

  *#merging(word: string, ids: IdBuffer): Steps<void> {
    // A step ends only inside a long word, whose symbols are its own: another text may be encoded meanwhile.
    // Of a byte that has no piece the spelling falls back to two.
    const most = (this.#isByteLevel && !this.isComplete ? 6 : 3) * word.length;
    const isLong = most > shortWord;
    const symbols = isLong ? new Int32Array(most) : this.#symbols;
    let count = this.#isByteLevel
      ? yield* this.#readingBytes(word, symbols, isLong)
      : yield* this.#readingCharacters(word, symbols, isLong);
    count = yield* this.#merger.merging(symbols, count, isLong);
    for (let i = 0; i < count; i += shortWord) {
      ids.append(symbols.subarray(i, Math.min(i + shortWord, count)));
      if (isLong) yield;
    }
  }

  *#readingBytes(word: string, symbols: Int32Array, isLong: boolean): Steps<number> {
    const reader = new SymbolReader(this.#json, this.#fallbackIds, symbols);
    for (let start = 0; start < word.length; ) {
      const end = Math.min(start + shortWord, word.length);
      const stop = isHighSurrogate(word.charCodeAt(end - 1)) ? end + 1 : end;
      for (const byte of Buffer.from(word.slice(start, stop))) {
        const id = this.#symbolIds[byte]!;
        if (id >= 0) reader.push(id);
        else reader.pushMissing(byteCharacters[byte]!);
      }
      start = stop;
      if (isLong) yield;
    }
    return reader.finish();
  }

  *#readingCharacters(word: string, symbols: Int32Array, isLong: boolean): Steps<number> {
    const reader = new SymbolReader(this.#json, this.#fallbackIds, symbols);
    for (let i = 0; i < word.length; i++) {
      if (isLong && i % shortWord === 0) yield;
      const unit = word.charCodeAt(i);
      const isPair = isHighSurrogate(unit);
      const id = isPair ? this.#json.vocabulary.get(word.slice(i, i + 2)) : this.#symbolIds[unit]!;
      if (id !== undefined && id >= 0) reader.push(id);
      else reader.pushMissing(isPair ? word.slice(i, i + 2) : word[i]!);
      if (isPair) i++;
    }
    return reader.finish();
  }
}

/** The symbols of a word before the merging: at most three for each of its UTF-16 units. */
class SymbolReader {
  readonly #json: TokenizerJson;
  readonly #fallbackIds: readonly number[];
  readonly #symbols: Int32Array;
  #count = 0;
  #holdsUnknown = false;

  constructor(json: TokenizerJson, fallbackIds: readonly number[], symbols: Int32Array) {
    this.#json = json;
    this.#fallbackIds = fallbackIds;
    this.#symbols = symbols;
  }

  push(id: number): void {
    if (this.#holdsUnknown) this.#pushUnknown();
    this.#symbols[this.#count++] = id;
  }

  /** A character without a piece: its bytes where they have pieces, else the unknown token, else nothing. */
  pushMissing(character: string): void {
    if (this.#json.byteFallback) {
      const bytes = Buffer.from(character);
      if (bytes.every((byte) => this.#fallbackIds[byte]! >= 0)) {
        // The library lets bytes pass an unknown token that is held.
        for (const byte of bytes) this.#symbols[this.#count++] = this.#fallbackIds[byte]!;
        return;
      }
    }
    if (this.#json.unkId === null) return;
    if (this.#holdsUnknown && !this.#json.fuseUnknown) this.#pushUnknown();
    this.#holdsUnknown = true;
  }

  finish(): number {
    if (this.#holdsUnknown) this.#pushUnknown();
    return this.#count;
  }

  #pushUnknown(): void {
    this.#holdsUnknown = false;
    this.#symbols[this.#count++] = this.#json.unkId!;
  }
}
