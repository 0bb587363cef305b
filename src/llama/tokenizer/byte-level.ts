import { runNow, type Steps, wordsPerStep } from "../time-slices.ts";
import { AddedTokens } from "./added-tokens.ts";
import { type Detokenization, decodeAll, streamDecoder } from "./detokenizer.ts";
import { IdBuffer } from "./id-buffer.ts";
import { llama3Words } from "./llama3-words.ts";
import { Merger, shortWord } from "./merger.ts";
import type { PairTable } from "./pair-table.ts";
import type { StreamDecoder, Tokenizer } from "./tokenizer.ts";
import { inputLength, inputParts, type TokenizerInput } from "./tokenizer-input.ts";
import type { AddedToken } from "./tokenizer-json.ts";

/** What a byte-level BPE vocabulary is made of; pieces are spelled with one character for each byte (byteCharacters). */
export interface ByteLevelVocabulary {
  readonly pieces: readonly (string | undefined)[];
  readonly ids: ReadonlyMap<string, number>;
  readonly merges: PairTable;
  readonly added: readonly AddedToken[];
  /** A word that is a piece becomes that piece, whatever the merges would give. */
  readonly ignoreMerges: boolean;
  readonly bosId: number;
  readonly eosId: number;
}

/** GPT-2's spelling of the 256 bytes: printable ones as themselves, the others from U+0100 on. */
export const byteCharacters: readonly string[] = spellBytes();
const bytesOfCharacters = new Map(byteCharacters.map((character, byte) => [character, byte]));

const cachedWords = 65_536;
const cachedWordLength = 32;

/** LLaMA 3's tokenizer: words by a regular expression, then byte pair encoding of their UTF-8 bytes. */
export class ByteLevelTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number;
  readonly eosId: number;
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly #vocabulary: ByteLevelVocabulary;
  readonly #added: AddedTokens;
  readonly #merger: Merger;
  readonly #byteSymbols: Int32Array;
  readonly #rules: Detokenization;
  readonly #longestPiece: number;
  readonly #cache = new Map<string, Int32Array>();
  readonly #symbols = new Int32Array(shortWord);

  /** Every byte must be a piece. */
  constructor(vocabulary: ByteLevelVocabulary) {
    this.#vocabulary = vocabulary;
    this.vocabSize = vocabulary.pieces.length;
    this.bosId = vocabulary.bosId;
    this.eosId = vocabulary.eosId;
    this.#added = new AddedTokens(vocabulary.added);
    this.specialTokens = this.#added.specialTokens;
    this.#merger = new Merger(vocabulary.merges);
    this.#longestPiece = vocabulary.pieces.reduce((most, piece = "") => Math.max(most, piece.length), 0);
    this.#byteSymbols = Int32Array.from(byteCharacters, (character) => vocabulary.ids.get(character)!);
    this.#rules = {
      surface: (id) => {
        const piece = vocabulary.pieces[id];
        return piece === undefined || this.#added.isSpecial(id) ? null : bytesOfPiece(piece);
      },
      beginsWithSpaceMark: () => false,
      leadingSpace: "none",
      replacement: "subpart",
      hiddenEndsRun: false,
    };
  }

  encode(input: TokenizerInput): Int32Array {
    return runNow(this.encoding(input));
  }

  *encoding(input: TokenizerInput): Steps<Int32Array> {
    const ids = new IdBuffer(inputLength(input));
    for (const part of inputParts(input)) {
      for (const section of typeof part === "string" ? this.#added.split(part.toWellFormed()) : [part]) {
        if (typeof section === "number") ids.push(section);
        else yield* this.#encodingSection(section.text, ids);
      }
    }
    return ids.finish();
  }

  decode(ids: Iterable<number>): string {
    return decodeAll(this.#rules, ids);
  }

  piece(id: number): string | null {
    return this.#vocabulary.pieces[id] ?? null;
  }

  decoder(promptIds?: Iterable<number>): StreamDecoder {
    return streamDecoder(this.#rules, promptIds);
  }

  *#encodingSection(text: string, ids: IdBuffer): Steps<void> {
    let words = 0;
    for (const word of llama3Words(text)) {
      if (word === null || ++words % wordsPerStep === 0) yield;
      if (word !== null) yield* this.#encodingWord(word, ids);
    }
  }

  *#encodingWord(word: string, ids: IdBuffer): Steps<void> {
    const known = this.#cache.get(word);
    if (known !== undefined) {
      ids.append(known);
      return;
    }
    const start = ids.length;
    const bytes = Buffer.from(word);
    const isPiece = this.#vocabulary.ignoreMerges && bytes.length <= this.#longestPiece;
    const whole = isPiece ? this.#vocabulary.ids.get(spell(bytes)) : undefined;
    if (whole !== undefined) ids.push(whole);
    else yield* this.#merging(bytes, ids);
    if (word.length > cachedWordLength) return;
    if (this.#cache.size >= cachedWords) this.#cache.clear();
    this.#cache.set(word, ids.since(start));
  }

  *#merging(bytes: Uint8Array, ids: IdBuffer): Steps<void> {
    // A step ends only inside a long word, whose symbols are its own: another text may be encoded meanwhile.
    const isLong = bytes.length > shortWord;
    const symbols = isLong ? new Int32Array(bytes.length) : this.#symbols;
    for (let i = 0; i < bytes.length; i++) {
      if (isLong && i % shortWord === 0) yield;
      symbols[i] = this.#byteSymbols[bytes[i]!]!;
    }
    const count = yield* this.#merger.merging(symbols, bytes.length);
    ids.append(symbols.subarray(0, count));
  }
}

/** The bytes as a piece of the vocabulary is spelled. */
export function spell(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byteCharacters[byte];
  return text;
}

/** A piece with a character that stands for no byte (an added token) is text. */
function bytesOfPiece(piece: string): Uint8Array {
  const bytes = new Uint8Array(piece.length);
  for (let i = 0; i < piece.length; i++) {
    const byte = bytesOfCharacters.get(piece[i]!);
    if (byte === undefined) return Buffer.from(piece);
    bytes[i] = byte;
  }
  return bytes;
}

function spellBytes(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(printable ? byte : next++);
  });
}
