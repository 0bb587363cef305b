import { AddedTokens } from "./added-tokens.ts";
import { type Detokenization, decodeAll, streamDecoder } from "./detokenizer.ts";
import { IdBuffer } from "./id-buffer.ts";
import { Merger } from "./merger.ts";
import type { PairTable } from "./pair-table.ts";
import { loneSurrogate } from "./sentencepiece.ts";
import type { StreamDecoder, Tokenizer } from "./tokenizer.ts";
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

/** The characters with Unicode's White_Space property, which JavaScript's \s is not quite. */
const space = "\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

/** The regular expression that LLaMA 3 splits words by, as its tokenizer.json spells it. */
export const llama3Pattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** The same in JavaScript, which has no (?i:) before Node 23; U+017F is an s without regard to case. */
const llama3Words = new RegExp(
  [
    "'(?:[sS\\u017f]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])",
    "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+",
    "\\p{N}{1,3}",
    ` ?[^${space}\\p{L}\\p{N}]+[\\r\\n]*`,
    `[${space}]*[\\r\\n]+`,
    `[${space}]+(?![^${space}])`,
    `[${space}]+`,
  ].join("|"),
  "gu",
);

const cachedWords = 65_536;
const cachedWordLength = 32;

/** LLaMA 3's tokenizer: words by a regular expression, then byte pair encoding of their UTF-8 bytes. */
export class ByteLevelTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number;
  readonly eosId: number;
  readonly #vocabulary: ByteLevelVocabulary;
  readonly #added: AddedTokens;
  readonly #merger: Merger;
  readonly #byteSymbols: Int32Array;
  readonly #rules: Detokenization;
  readonly #cache = new Map<string, Int32Array>();
  #symbols = new Int32Array(256);

  /** Every byte must be a piece. */
  constructor(vocabulary: ByteLevelVocabulary) {
    this.#vocabulary = vocabulary;
    this.vocabSize = vocabulary.pieces.length;
    this.bosId = vocabulary.bosId;
    this.eosId = vocabulary.eosId;
    this.#added = new AddedTokens(vocabulary.added);
    this.#merger = new Merger(vocabulary.merges);
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

  encode(text: string): Int32Array {
    const ids = new IdBuffer();
    for (const section of this.#added.split(text.replace(loneSurrogate, "\ufffd"))) {
      if (typeof section === "number") ids.push(section);
      else for (const [word] of section.text.matchAll(llama3Words)) this.#encodeWord(word, ids);
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

  #encodeWord(word: string, ids: IdBuffer): void {
    const known = this.#cache.get(word);
    if (known !== undefined) {
      ids.append(known);
      return;
    }
    const start = ids.length;
    const bytes = Buffer.from(word);
    const whole = this.#vocabulary.ignoreMerges ? this.#vocabulary.ids.get(spell(bytes)) : undefined;
    if (whole !== undefined) ids.push(whole);
    else this.#merge(bytes, ids);
    if (word.length > cachedWordLength) return;
    if (this.#cache.size >= cachedWords) this.#cache.clear();
    this.#cache.set(word, ids.since(start));
  }

  #merge(bytes: Uint8Array, ids: IdBuffer): void {
    if (this.#symbols.length < bytes.length) this.#symbols = new Int32Array(bytes.length * 2);
    for (const [i, byte] of bytes.entries()) this.#symbols[i] = this.#byteSymbols[byte]!;
    const count = this.#merger.merge(this.#symbols, bytes.length);
    ids.append(this.#symbols.subarray(0, count));
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
