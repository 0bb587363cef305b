import { runNow, type Steps } from "../time-slices.ts";
import { AddedTokens, trimmedParts } from "./added-tokens.ts";
import { type Detokenization, decodeAll, type Surface, streamDecoder } from "./detokenizer.ts";
import { IdBuffer } from "./id-buffer.ts";
import { shortWord } from "./merger.ts";
import { mergesOfPieces } from "./pair-table.ts";
import { indexPieces, rankByScore } from "./piece-index.ts";
import { PieceEncoder } from "./sentencepiece-encoder.ts";
import { pieceTypes, readSentencePieceModel, type SentencePieceModel } from "./sentencepiece-model.ts";
import { spaceMark } from "./space-marks.ts";
import type { StreamDecoder, Tokenizer } from "./tokenizer.ts";
import type { TokenizerConfig } from "./tokenizer-config.ts";
import { inputLength, inputParts, type TokenizerInput } from "./tokenizer-input.ts";
import { type AddedToken, addedToken, unsupported } from "./tokenizer-json.ts";

/** What the files beside a tokenizer.model say about it. */
export type SentencePieceConfig = Pick<
  TokenizerConfig,
  "bos" | "eos" | "addBos" | "legacy" | "addPrefixSpace" | "added"
>;

/** Where a vocabulary comes alone. */
export const nothingSaid: SentencePieceConfig = {
  bos: null,
  eos: null,
  addBos: null,
  legacy: null,
  addPrefixSpace: null,
  added: [],
};

/**
 * SentencePiece BPE as LLaMA 1 and 2 use it: same ids and text as the sentencepiece library.
 * Kudo and Richardson 2018, https://github.com/google/sentencepiece
 */
export class SentencePieceTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number | null;
  readonly eosId: number;
  readonly unkId: number;
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly model: SentencePieceModel;
  /** Pieces after the model's own, and control pieces by other names. */
  readonly added: readonly AddedToken[];
  readonly #tokens: AddedTokens;
  readonly #encoder: PieceEncoder;
  readonly #rules: Detokenization;
  /** Which texts get a space in front: each, or the first. */
  readonly #prefixes: "every" | "first" | "none";

  constructor(model: SentencePieceModel, encoder: PieceEncoder, config: SentencePieceConfig, file: string) {
    this.model = model;
    this.#encoder = encoder;
    this.unkId = model.unkId;
    this.added = config.added.filter(({ id, content }) => id >= model.pieces.length || isNormal(model, id, content));
    const controls = model.pieces.flatMap(({ text, type }, id) =>
      type === pieceTypes.control ? [addedToken(id, text, true)] : [],
    );
    this.#tokens = new AddedTokens([...controls, ...this.added], null);
    this.specialTokens = this.#tokens.specialTokens;
    this.vocabSize = this.added.reduce((size, { id }) => Math.max(size, id + 1), model.pieces.length);
    const named = (name: string | null) => (name === null ? undefined : this.specialTokens.get(name));
    const bosId = named(config.bos) ?? model.bosId;
    if (config.addBos === true && bosId < 0)
      unsupported(file, "a vocabulary without the beginning of text that is asked for");
    this.bosId = config.addBos === false || bosId < 0 ? null : bosId;
    this.eosId = named(config.eos) ?? model.eosId;
    if (this.eosId < 0) unsupported(file, "a vocabulary without an end of text");
    const isLegacy = config.legacy !== false;
    const hasPrefix = model.addDummyPrefix && (isLegacy || config.addPrefixSpace !== false);
    this.#prefixes = hasPrefix ? (isLegacy ? "every" : "first") : "none";
    this.#rules = this.#detokenization(hasPrefix);
  }

  encode(input: TokenizerInput): Int32Array {
    return runNow(this.encoding(input));
  }

  *encoding(input: TokenizerInput): Steps<Int32Array> {
    const parts = yield* trimmedParts(inputParts(input), this.#tokens);
    const ids = new IdBuffer(inputLength(input) + parts.length);
    for (const [index, part] of parts.entries()) {
      for (const section of typeof part === "string" ? this.#tokens.sections(part) : [part]) {
        if (section === null) yield;
        else if (typeof section === "number") ids.push(section);
        else if ("id" in section) ids.push(section.id);
        else {
          const isFirst = index === 0 && section.start === 0;
          const hasPrefix = this.#prefixes === "every" || (this.#prefixes === "first" && isFirst);
          yield* this.#encoder.encoding((hasPrefix ? " " : "") + section.text, ids);
        }
      }
    }
    const all = yield* ids.finishing();
    return this.#encoder.fallsBack ? all : yield* fusingRuns(all, this.unkId);
  }

  decode(ids: Iterable<number>): string {
    return decodeAll(this.#rules, ids);
  }

  piece(id: number): string | null {
    return this.#tokens.get(id)?.content ?? this.model.pieces[id]?.text ?? null;
  }

  decoder(promptIds?: Iterable<number>): StreamDecoder {
    return streamDecoder(this.#rules, promptIds);
  }

  #detokenization(hasPrefix: boolean): Detokenization {
    const { pieces, unkSurface } = this.model;
    const surface = (id: number): Surface => {
      const added = this.#tokens.get(id);
      if (added !== undefined) return added.special ? null : added.content;
      const piece = pieces[id];
      if (piece === undefined || piece.type === pieceTypes.unused) return null;
      if (piece.type === pieceTypes.unknown) return unkSurface;
      if (piece.type === pieceTypes.byte) return Uint8Array.of(Number.parseInt(piece.text.slice(3, 5), 16));
      return piece.text.replaceAll(spaceMark, " ");
    };
    return {
      surface,
      beginsWithSpaceMark: (id) =>
        pieces[id]?.type !== pieceTypes.unknown && pieces[id]?.text.startsWith(spaceMark) === true,
      leadingSpace: hasPrefix ? "piece" : "none",
      replacement: "byte",
      hiddenEndsRun: true,
    };
  }
}

/** Whether this id is a piece of text with this name, which a file makes a token of its own. */
function isNormal({ pieces }: SentencePieceModel, id: number, content: string): boolean {
  const piece = pieces[id]!;
  return piece.text === content && (piece.type === pieceTypes.normal || piece.type === pieceTypes.userDefined);
}

/** Opens the bytes of a `tokenizer.model`. `file` is named in errors. */
export function sentencePieceTokenizer(bytes: Uint8Array, file: string): SentencePieceTokenizer {
  return runNow(openingSentencePiece(bytes, file));
}

/** The same in steps, with what the files beside it say. */
export function* openingSentencePiece(
  bytes: Uint8Array,
  file: string,
  config: SentencePieceConfig = nothingSaid,
): Steps<SentencePieceTokenizer> {
  const model = yield* readSentencePieceModel(bytes, file);
  return yield* tokenizerOfModel(model, file, config);
}

/** The tokenizer of a model that was read. */
export function* tokenizerOfModel(
  model: SentencePieceModel,
  file: string,
  config: SentencePieceConfig,
): Steps<SentencePieceTokenizer> {
  const index = yield* indexPieces(model, file);
  const rank = rankByScore(model);
  yield;
  const merges = yield* mergesOfPieces(index.ids, rank, model.pieces.length);
  return new SentencePieceTokenizer(model, new PieceEncoder(model, index, merges, file), config, file);
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
