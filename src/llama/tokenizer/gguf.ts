import { CodedError } from "../../errors/index.ts";
import { runNow } from "../time-slices.ts";
import { BpeTokenizer } from "./bpe-tokenizer.ts";
import { publishedWords } from "./published-patterns.ts";
import { nothingSaid, tokenizerOfModel } from "./sentencepiece.ts";
import { pieceTypes } from "./sentencepiece-model.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { addedToken, byteLevelJson, readMerges, unsupported } from "./tokenizer-json.ts";

/** GGUF's `tokenizer.ggml.*`, under the last part of each name. */
export interface GgufTokenizerMetadata {
  /** "llama" (SentencePiece) or "gpt2" (byte-level BPE). */
  readonly model: string;
  /** How "gpt2" splits words: "llama-bpe", "qwen2", ...; null where it is absent. */
  readonly pre: string | null;
  readonly tokens: readonly string[];
  /** sentencepiece_model.proto's types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
  readonly tokenTypes: readonly number[] | null;
  readonly scores: readonly number[] | null;
  /** "left right", the first merges first. */
  readonly merges: readonly string[] | null;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly addBos: boolean | null;
  readonly addSpacePrefix: boolean | null;
}

const mostTokens = 2 ** 20;

/**
 * The tokenizer that a GGUF file describes, with the ids of the tokenizer it was made of. `file` is named in errors.
 * Throws TOKENIZER_UNSUPPORTED naming a model or `pre` that is not known, TOKENIZER_CORRUPT where lists contradict.
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export function ggufTokenizer(metadata: GgufTokenizerMetadata, file = "GGUF"): Tokenizer {
  check(metadata, file);
  if (metadata.model === "llama") return sentencePiece(metadata, file);
  if (metadata.model === "gpt2") return byteLevel(metadata, file);
  return unsupported(file, `tokenizer.ggml.model ${JSON.stringify(metadata.model)}`);
}

function check({ tokens, tokenTypes, scores, bosId, eosId }: GgufTokenizerMetadata, file: string): void {
  const corrupt = (what: string): never => {
    throw new CodedError("TOKENIZER_CORRUPT", `${file}: tokenizer.ggml.${what}`);
  };
  if (tokens.length === 0 || tokens.length > mostTokens) corrupt(`tokens has ${tokens.length} entries`);
  for (const [name, list] of Object.entries({ token_type: tokenTypes, scores })) {
    if (list !== null && list.length !== tokens.length) {
      corrupt(`${name} has ${list.length} entries, tokens has ${tokens.length}`);
    }
  }
  const wrong = tokenTypes?.findIndex((type) => !(Number.isInteger(type) && type >= 1 && type <= 6)) ?? -1;
  if (wrong >= 0) corrupt(`token_type ${wrong} is ${tokenTypes![wrong]}`);
  const unscored = scores?.findIndex((score) => Number.isNaN(score)) ?? -1;
  if (unscored >= 0) corrupt(`scores ${unscored} is not a number`);
  for (const [name, id] of Object.entries({ bos_token_id: bosId, eos_token_id: eosId })) {
    if (id !== null && !(Number.isInteger(id) && id >= 0 && id < tokens.length)) {
      corrupt(`${name} is ${id}, there are ${tokens.length} tokens`);
    }
  }
}

function sentencePiece(metadata: GgufTokenizerMetadata, file: string): Tokenizer {
  const { tokens, tokenTypes, scores, bosId, eosId, addBos, addSpacePrefix } = metadata;
  if (tokenTypes === null || scores === null)
    return unsupported(file, "a SentencePiece vocabulary without types or scores");
  const empty = tokens.indexOf("");
  if (empty >= 0) throw new CodedError("TOKENIZER_CORRUPT", `${file}: tokenizer.ggml.tokens ${empty} is empty`);
  const pieces = tokens.map((text, id) => ({ text, score: scores[id]!, type: tokenTypes[id]! }));
  const model = {
    pieces,
    byteFallback: tokenTypes.includes(pieceTypes.byte),
    unkId: Math.max(0, tokenTypes.indexOf(pieceTypes.unknown)),
    bosId: bosId ?? -1,
    eosId: eosId ?? -1,
    unkSurface: " \u2047 ",
    addDummyPrefix: addSpacePrefix ?? true,
  };
  return runNow(tokenizerOfModel(model, file, { ...nothingSaid, addBos: addBos ?? true }));
}

function byteLevel(metadata: GgufTokenizerMetadata, file: string): Tokenizer {
  const { tokens, tokenTypes, bosId, eosId, addBos } = metadata;
  const pre = metadata.pre ?? "default";
  const words = publishedWords.find(({ names }) => names.includes(pre));
  if (words === undefined) return unsupported(file, `tokenizer.ggml.pre ${JSON.stringify(pre)}`);
  if (eosId === null) return unsupported(file, "a vocabulary without an end of text");
  if (addBos === true && bosId === null) return unsupported(file, "tokenizer.ggml.add_bos_token without bos_token_id");
  const typeOf = (id: number) => tokenTypes?.[id] ?? pieceTypes.normal;
  const vocabulary = new Map<string, number>();
  const added = tokens.flatMap((content, id) => {
    const type = typeOf(id);
    if (type === pieceTypes.normal && !vocabulary.has(content)) vocabulary.set(content, id);
    if (type === pieceTypes.userDefined && content !== "") return [addedToken(id, content, false)];
    const isSpecial = type === pieceTypes.control || type === pieceTypes.unknown || type === pieceTypes.unused;
    return isSpecial && content !== "" ? [addedToken(id, content, true)] : [];
  });
  const corrupt = (what: string): never => {
    throw new CodedError("TOKENIZER_CORRUPT", `${file}: tokenizer.ggml.merges: ${what}`);
  };
  const { ignoreMerges, normalizer, preTokenizer } = words;
  const merges = readMerges(metadata.merges, vocabulary, corrupt);
  const known = { file, vocabulary, pieces: tokens, merges, added };
  const definition = byteLevelJson({ ...known, ignoreMerges, normalizer, preTokenizer });
  return new BpeTokenizer(definition, (addBos ?? words.addsBos) ? bosId : null, eosId);
}
