import { runNow, type Steps, wordsPerStep } from "../time-slices.ts";
import { AddedTokens } from "./added-tokens.ts";
import { type Detokenization, decodeAll, type Surface, streamDecoder } from "./detokenizer.ts";
import { IdBuffer } from "./id-buffer.ts";
import { Merger, shortWord } from "./merger.ts";
import { characterLength } from "./pair-table.ts";
import { isSpace, SpaceFinder, spaceMark } from "./space-marks.ts";
import type { StreamDecoder, Tokenizer } from "./tokenizer.ts";
import { inputLength, inputParts, type TokenizerInput } from "./tokenizer-input.ts";
import { partsOf, type TokenizerJson, unsupported } from "./tokenizer-json.ts";

/** How spaces become marks before the merging. */
interface Spacing {
  /**
   * Which sections of text (an added token begins a new one) get a mark in front: "every", always one more;
   * "unless marked", only where there is none; "first", that for the beginning of the text only.
   */
  readonly prefix: "every" | "unless marked" | "first" | "none";
  /** Merges do not reach from one word to the next. */
  readonly splitWords: boolean;
}

/** LLaMA 2's vocabulary in a tokenizer.json: byte pair encoding of characters, bytes for those it does not have. */
export class MetaspaceTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number;
  readonly eosId: number;
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly #json: TokenizerJson;
  readonly #added: AddedTokens;
  readonly #merger: Merger;
  readonly #spacing: Spacing;
  readonly #byteIds: readonly number[] | null;
  readonly #rules: Detokenization;
  readonly #longestPiece: number;
  readonly #symbols = new Int32Array(shortWord);

  /** Throws TOKENIZER_UNSUPPORTED naming a normaliser, pre-tokeniser or decoder that is not implemented. */
  constructor(json: TokenizerJson, bosId: number, eosId: number) {
    this.#json = json;
    this.vocabSize = json.pieces.length;
    this.bosId = bosId;
    this.eosId = eosId;
    this.#added = new AddedTokens(json.added);
    this.specialTokens = this.#added.specialTokens;
    this.#merger = new Merger(json.merges);
    this.#spacing = readSpacing(json);
    this.#longestPiece = json.pieces.reduce((most, piece = "") => Math.max(most, piece.length), 0);
    const byteIds = Array.from({ length: 256 }, (_, byte) => json.vocabulary.get(byteName(byte)) ?? -1);
    this.#byteIds = json.byteFallback && !byteIds.includes(-1) ? byteIds : null;
    this.#rules = detokenization(json, this.#added);
  }

  encode(input: TokenizerInput): Int32Array {
    return runNow(this.encoding(input));
  }

  *encoding(input: TokenizerInput): Steps<Int32Array> {
    const parts = inputParts(input);
    const ids = new IdBuffer(inputLength(input) + parts.length);
    for (const [index, part] of parts.entries()) {
      for (const section of typeof part === "string" ? this.#added.split(part.toWellFormed()) : [part]) {
        if (typeof section === "number") ids.push(section);
        else yield* this.#encodingSection(section.text, index === 0 && section.start === 0, ids);
        yield;
      }
    }
    return ids.finish();
  }

  decode(ids: Iterable<number>): string {
    return decodeAll(this.#rules, ids);
  }

  piece(id: number): string | null {
    return this.#json.pieces[id] ?? null;
  }

  decoder(promptIds?: Iterable<number>): StreamDecoder {
    return streamDecoder(this.#rules, promptIds);
  }

  *#encodingSection(text: string, first: boolean, ids: IdBuffer): Steps<void> {
    const { prefix, splitWords } = this.#spacing;
    const wants =
      prefix === "every" ||
      (!isSpace(text.charCodeAt(0)) && (prefix === "unless marked" || (prefix === "first" && first)));
    const whole = wants ? ` ${text}` : text;
    const spaces = new SpaceFinder(whole);
    let words = 0;
    for (let start = 0; start < whole.length; ) {
      const stop = splitWords ? spaces.next(start + 1) : whole.length;
      yield* this.#encodingWord(whole.slice(start, stop), ids);
      if (++words % wordsPerStep === 0) yield;
      start = stop;
    }
  }

  *#encodingWord(word: string, ids: IdBuffer): Steps<void> {
    const isPiece = this.#json.ignoreMerges && word.length <= this.#longestPiece;
    const whole = isPiece ? this.#json.vocabulary.get(word.replaceAll(" ", spaceMark)) : undefined;
    if (whole !== undefined) {
      ids.push(whole);
      return;
    }
    // A step ends only inside a long word, whose symbols are its own: another text may be encoded meanwhile.
    const isLong = word.length > shortWord;
    const symbols = isLong ? new Int32Array(word.length) : this.#symbols;
    let count = 0;
    for (let i = 0; i < word.length; ) {
      const length = characterLength(word, i);
      const character = isSpace(word.charCodeAt(i)) ? spaceMark : word.slice(i, i + length);
      symbols[count++] = this.#json.vocabulary.get(character) ?? ~character.codePointAt(0)!;
      i += length;
      if (isLong && count % shortWord === 0) yield;
    }
    count = yield* this.#merger.merging(symbols, count);
    for (let i = 0; i < count; i++) {
      if (isLong && i % shortWord === 0) yield;
      const symbol = symbols[i]!;
      if (symbol >= 0) ids.push(symbol);
      else if (this.#byteIds !== null) this.#pushBytes(~symbol, this.#byteIds, ids);
      else if (this.#json.unkId !== null) {
        const repeats = this.#json.fuseUnknown && i > 0 && symbols[i - 1]! < 0;
        if (!repeats) ids.push(this.#json.unkId);
      }
    }
  }

  #pushBytes(codePoint: number, byteIds: readonly number[], ids: IdBuffer): void {
    for (const byte of Buffer.from(String.fromCodePoint(codePoint))) ids.push(byteIds[byte]!);
  }
}

function readSpacing({ normalizer, preTokenizer, file }: TokenizerJson): Spacing {
  let prefix: Spacing["prefix"] = "none";
  let replaces = false;
  for (const part of partsOf(normalizer, "normalizers", file)) {
    const pattern = part.pattern as { String?: unknown } | undefined;
    if (part.type === "Prepend" && part.prepend === spaceMark) prefix = "every";
    else if (part.type === "Replace" && pattern?.String === " " && part.content === spaceMark) replaces = true;
    else unsupported(file, `normaliser "${part.type}" with these settings`);
  }
  const parts = partsOf(preTokenizer, "pretokenizers", file);
  if (parts.length === 0 && replaces) return { prefix, splitWords: false };
  const [part] = parts;
  if (parts.length !== 1 || part?.type !== "Metaspace" || part.replacement !== spaceMark || prefix !== "none") {
    return unsupported(file, `pre-tokeniser "${part?.type ?? "none"}" with these settings`);
  }
  // Files before prepend_scheme have add_prefix_space.
  const scheme = part.prepend_scheme ?? (part.add_prefix_space === false ? "never" : "always");
  const prefixes = new Map([
    ["always", "unless marked" as const],
    ["first", "first" as const],
    ["never", "none" as const],
  ]);
  const known = prefixes.get(String(scheme)) ?? unsupported(file, `prepend_scheme "${scheme}"`);
  return { prefix: known, splitWords: part.split !== false };
}

function detokenization({ pieces, vocabulary, decoder, file }: TokenizerJson, added: AddedTokens): Detokenization {
  let strips = false;
  for (const part of partsOf(decoder, "decoders", file)) {
    if (part.type === "Strip" && part.content === " " && part.stop === 0 && Number(part.start) <= 1) {
      strips ||= part.start === 1;
    } else if (!["Replace", "ByteFallback", "Fuse"].includes(part.type)) {
      unsupported(file, `decoder "${part.type}" with these settings`);
    }
  }
  const bytes = new Map(Array.from({ length: 256 }, (_, byte) => [vocabulary.get(byteName(byte)), byte]));
  const surfaces: Surface[] = Array.from(pieces, (piece, id) => {
    if (piece === undefined || added.isSpecial(id)) return null;
    const byte = bytes.get(id);
    return byte === undefined ? piece.replaceAll(spaceMark, " ") : Uint8Array.of(byte);
  });
  return {
    surface: (id) => surfaces[id] ?? null,
    beginsWithSpaceMark: () => false,
    leadingSpace: strips ? "text" : "none",
    // The library replaces a whole run of bytes that has one broken character in it, which no stream can do.
    replacement: "byte",
    hiddenEndsRun: false,
  };
}

function byteName(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}
