import { BpeTokenizer } from "./bpe-tokenizer.ts";
import { byteName } from "./byte-spelling.ts";
import type { GgufTokenizerMetadata } from "./gguf.ts";
import { flatParts } from "./pre-tokenizers.ts";
import { publishedAs } from "./published-patterns.ts";
import { SentencePieceTokenizer } from "./sentencepiece.ts";
import { pieceTypes } from "./sentencepiece-model.ts";
import { spaceMark } from "./space-marks.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { type AddedToken, type Part, type TokenizerJson, unsupported } from "./tokenizer-json.ts";

/**
 * `tokenizer.ggml.*` for a tokenizer that was opened: what ggufTokenizer reads as the same tokenizer.
 * Throws TOKENIZER_UNSUPPORTED naming what GGUF has no name for.
 */
export function tokenizerMetadata(tokenizer: Tokenizer): GgufTokenizerMetadata {
  if (tokenizer instanceof SentencePieceTokenizer) return ofSentencePiece(tokenizer);
  if (!(tokenizer instanceof BpeTokenizer)) return unsupported("the tokenizer", "writing it into GGUF");
  const { preTokenizer, file } = tokenizer.definition;
  const parts = flatParts(preTokenizer, "pretokenizers", file);
  return parts.some((part) => part.type === "ByteLevel") ? ofByteLevel(tokenizer) : ofMetaspace(tokenizer, parts);
}

function ofSentencePiece(tokenizer: SentencePieceTokenizer): GgufTokenizerMetadata {
  const { model, added, vocabSize } = tokenizer;
  const table = new TokenTable(vocabSize, added);
  for (const [id, { text, score, type }] of model.pieces.entries()) table.set(id, text, type, score);
  return scored(tokenizer, table, model.addDummyPrefix);
}

function ofByteLevel(tokenizer: BpeTokenizer): GgufTokenizerMetadata {
  const { definition } = tokenizer;
  const { file, preTokenizer, normalizer, pieces, vocabulary, merges, added } = definition;
  const words = publishedAs(preTokenizer, file);
  if (words === undefined) return unsupported(file, "writing its pre-tokeniser into GGUF, which has no name for it,");
  const changes = flatParts(normalizer, "normalizers", file).map((part) => part.type);
  // llama.cpp normalises nothing, and NFC leaves composed text as it is.
  if (changes.some((type) => type !== "NFC")) return unsupported(file, `writing normaliser "${changes[0]}" into GGUF`);
  const table = new TokenTable(tokenizer.vocabSize, added);
  for (const [text, id] of vocabulary) table.set(id, text, pieceTypes.normal, 0);
  return {
    model: "gpt2",
    pre: words.names[0]!,
    ...table.lists(false),
    merges: [...merges.inOrder()].map(({ left, right }) => `${pieces[left]} ${pieces[right]}`),
    ...endsOf(tokenizer),
    addSpacePrefix: false,
  };
}

/** LLaMA 2's tokenizer.json: a piece's score is the place of the first merge that makes it. */
function ofMetaspace(tokenizer: BpeTokenizer, parts: readonly Part[]): GgufTokenizerMetadata {
  const { file, vocabulary, merges, added, byteFallback, unkId } = tokenizer.definition;
  if (!byteFallback) return unsupported(file, "writing a vocabulary without byte fallback into GGUF");
  const table = new TokenTable(tokenizer.vocabSize, added);
  const scores = new Map<number, number>();
  for (const { result, rank } of merges.inOrder()) if (!scores.has(result)) scores.set(result, -rank);
  const bytes = new Set(Array.from({ length: 256 }, (_, byte) => byteName(byte)));
  for (const [text, id] of vocabulary) {
    const type = id === unkId ? pieceTypes.unknown : bytes.has(text) ? pieceTypes.byte : pieceTypes.normal;
    const isUnreached = type === pieceTypes.normal && [...text].length > 1 && !scores.has(id) && !table.has(id);
    if (isUnreached) return unsupported(file, `writing piece ${JSON.stringify(text)}, which no merge makes, into GGUF`);
    table.set(id, text, type, scores.get(id) ?? 0);
  }
  return scored(tokenizer, table, hasPrefix(tokenizer.definition, parts));
}

/** GGUF's "llama": pieces with scores, as SentencePiece has them. */
function scored(tokenizer: Tokenizer, table: TokenTable, addSpacePrefix: boolean): GgufTokenizerMetadata {
  return {
    model: "llama",
    pre: "default",
    ...table.lists(true),
    merges: null,
    ...endsOf(tokenizer),
    addSpacePrefix,
  };
}

function hasPrefix({ file, normalizer }: TokenizerJson, parts: readonly Part[]): boolean {
  const normalizers = flatParts(normalizer, "normalizers", file);
  const known = [...normalizers, ...parts].every((part) => {
    const from = (part.pattern as { String?: unknown } | undefined)?.String;
    if (part.type === "Replace") return from === " " && part.content === spaceMark;
    return part.type === "Metaspace" || (part.type === "Prepend" && part.prepend === spaceMark);
  });
  if (!known) return unsupported(file, "writing its normalisers or pre-tokenisers into GGUF");
  return (
    normalizers.some((part) => part.type === "Prepend") ||
    parts.some((part) => part.prepend_scheme !== "never" && part.add_prefix_space !== false)
  );
}

function endsOf({ bosId, eosId }: Tokenizer): Pick<GgufTokenizerMetadata, "bosId" | "eosId" | "addBos"> {
  return { bosId, eosId, addBos: bosId !== null };
}

/** Lists by id; an id without a token gets a name that no text becomes. */
class TokenTable {
  readonly #tokens: string[];
  readonly #types: number[];
  readonly #scores: number[];
  readonly #added = new Set<number>();

  constructor(size: number, added: readonly AddedToken[]) {
    this.#tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`);
    this.#types = new Array(size).fill(pieceTypes.unused);
    this.#scores = new Array(size).fill(-1000);
    for (const { id, content, special } of added) {
      this.set(id, content, special ? pieceTypes.control : pieceTypes.userDefined, 0);
      this.#added.add(id);
    }
  }

  has(id: number): boolean {
    return this.#added.has(id);
  }

  /** An added token stays what it is, but the unknown one. */
  set(id: number, text: string, type: number, score: number): void {
    if (this.#added.has(id)) {
      if (type === pieceTypes.unknown) this.#types[id] = type;
      return;
    }
    this.#tokens[id] = text;
    this.#types[id] = type;
    this.#scores[id] = score;
  }

  lists(scored: boolean): Pick<GgufTokenizerMetadata, "tokens" | "tokenTypes" | "scores"> {
    return { tokens: this.#tokens, tokenTypes: this.#types, scores: scored ? this.#scores : null };
  }
}
