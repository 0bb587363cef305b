import { CodedError } from "../../errors/index.ts";
import { runNow, type Steps, wordsPerStep } from "../time-slices.ts";
import { AddedTokens, trimmedParts } from "./added-tokens.ts";
import { BpeModel } from "./bpe-model.ts";
import { readDecoder } from "./decoders.ts";
import { type Detokenization, decodeAll, streamDecoder } from "./detokenizer.ts";
import { IdBuffer } from "./id-buffer.ts";
import { type Normalizer, readNormalizer } from "./normalizers.ts";
import { readPreTokenizer, type WordRules } from "./pre-tokenizers.ts";
import { splitAll } from "./splitters.ts";
import type { StreamDecoder, Tokenizer } from "./tokenizer.ts";
import { inputLength, inputParts, type TokenizerInput } from "./tokenizer-input.ts";
import type { TokenizerJson } from "./tokenizer-json.ts";

/** A tokenizer.json with a BPE model: the ids and texts of the tokenizers library. */
export class BpeTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number | null;
  readonly eosId: number;
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly definition: TokenizerJson;
  readonly #added: AddedTokens;
  readonly #normalizer: Normalizer | null;
  readonly #words: WordRules;
  readonly #model: BpeModel;
  readonly #rules: Detokenization;

  /** Throws TOKENIZER_UNSUPPORTED naming a part that is not implemented, TOKENIZER_CORRUPT for a vocabulary with gaps. */
  constructor(json: TokenizerJson, bosId: number | null, eosId: number) {
    this.definition = json;
    this.vocabSize = json.pieces.length;
    this.bosId = bosId;
    this.eosId = eosId;
    const normalizer = readNormalizer(json.normalizer, json.file);
    this.#normalizer = normalizer;
    this.#added = new AddedTokens(json.added, normalizer === null ? null : (text) => runNow(normalizer(text)));
    this.specialTokens = this.#added.specialTokens;
    this.#words = readPreTokenizer(json.preTokenizer, json.file);
    this.#model = new BpeModel(json, this.#words.isByteLevel);
    if (json.unkId === null && json.unknown !== null && !this.#model.isComplete) {
      throw new CodedError(
        "TOKENIZER_CORRUPT",
        `${json.file}: "unk_token" ${JSON.stringify(json.unknown)} is no piece`,
      );
    }
    this.#rules = readDecoder(json, this.#added);
  }

  encode(input: TokenizerInput): Int32Array {
    return runNow(this.encoding(input));
  }

  *encoding(input: TokenizerInput): Steps<Int32Array> {
    const parts = yield* trimmedParts(inputParts(input), this.#added);
    const ids = new IdBuffer(inputLength(input) + parts.length);
    for (const [index, part] of parts.entries()) {
      if (typeof part === "number") ids.push(part);
      else yield* this.#encodingText(part, index === 0, ids);
    }
    return yield* ids.finishing();
  }

  decode(ids: Iterable<number>): string {
    return decodeAll(this.#rules, ids);
  }

  piece(id: number): string | null {
    return this.definition.pieces[id] ?? null;
  }

  decoder(promptIds?: Iterable<number>): StreamDecoder {
    return streamDecoder(this.#rules, promptIds);
  }

  *#encodingText(text: string, isFirst: boolean, ids: IdBuffer): Steps<void> {
    for (const section of this.#added.sections(text)) {
      if (section === null) yield;
      else if ("id" in section) ids.push(section.id);
      else if (this.#normalizer === null) {
        yield* this.#encodingSection(section.text, isFirst && section.start === 0, ids);
      } else {
        const normalized = yield* this.#normalizer(section.text);
        for (const part of this.#added.normalizedSections(normalized)) {
          if (part === null) yield;
          else if ("id" in part) ids.push(part.id);
          else yield* this.#encodingSection(part.text, isFirst && section.start === 0 && part.start === 0, ids);
        }
      }
    }
  }

  *#encodingSection(text: string, isFirst: boolean, ids: IdBuffer): Steps<void> {
    let words = 0;
    for (const word of splitAll(this.#words.splitters, text, isFirst)) {
      if (word === null || ++words % wordsPerStep === 0) yield;
      if (word !== null && !this.#model.appendKnown(word, ids)) yield* this.#model.encoding(word, ids);
    }
  }
}
