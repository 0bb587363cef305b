import { CodedError } from "../../errors/index.ts";
import { parseBoundedJson } from "../bounded-json.ts";
import { PairTable } from "./pair-table.ts";

/** A part of tokenizer.json: an object with a `type`, as the tokenizers library writes all of them. */
export type Part = { readonly type: string } & Readonly<Record<string, unknown>>;

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Never shown, never read from text. */
  readonly special: boolean;
  /** Takes the white space before it; behind it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Only where no letter or digit is beside it. */
  readonly singleWord: boolean;
  /** Looked for in the text after its normalisation. */
  readonly normalized: boolean;
}

/** An added token without further rules. */
export function addedToken(id: number, content: string, special: boolean): AddedToken {
  return { id, content, special, lstrip: false, rstrip: false, singleWord: false, normalized: false };
}

/** A BPE tokenizer in the terms of tokenizer.json, its merges resolved to ids. */
export interface TokenizerJson {
  readonly file: string;
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Of the vocabulary and the added tokens together. */
  readonly pieces: readonly (string | undefined)[];
  readonly merges: PairTable;
  readonly added: readonly AddedToken[];
  readonly byteFallback: boolean;
  readonly fuseUnknown: boolean;
  readonly ignoreMerges: boolean;
  /** null: characters without a piece are left out. */
  readonly unkId: number | null;
  /** The name of the unknown token; null where none is given. */
  readonly unknown: string | null;
  readonly normalizer: Part | null;
  readonly preTokenizer: Part | null;
  readonly postProcessor: Part | null;
  readonly decoder: Part | null;
}

type ByteLevelParts =
  | "file"
  | "vocabulary"
  | "pieces"
  | "merges"
  | "added"
  | "ignoreMerges"
  | "normalizer"
  | "preTokenizer";

/** A byte-level vocabulary, which has a piece for every byte. */
export function byteLevelJson(parts: Pick<TokenizerJson, ByteLevelParts>): TokenizerJson {
  const decoder = { type: "ByteLevel" };
  return {
    ...parts,
    byteFallback: false,
    fuseUnknown: false,
    unkId: null,
    unknown: null,
    postProcessor: null,
    decoder,
  };
}

const maxId = 2 ** 20;

/**
 * Reads a tokenizer.json as Hugging Face's tokenizers library writes it, with merges as "a b" or as pairs.
 * Throws TOKENIZER_CORRUPT where the file contradicts itself, TOKENIZER_UNSUPPORTED naming a model or option that
 * would change the ids and is not implemented.
 */
export function readTokenizerJson(text: string, file: string): TokenizerJson {
  const corrupt = corruption(file);
  let root: unknown;
  try {
    root = parseBoundedJson(text);
  } catch (error) {
    return corrupt(`not valid JSON: ${(error as Error).message}`);
  }
  const top = record(root) ?? corrupt("holds no JSON object");
  const model = record(top.model) ?? corrupt('"model" is missing');
  refuseOtherModels(model, file);
  const vocabulary = readVocabulary(model.vocab, corrupt);
  const added = readAdded(top.added_tokens, vocabulary, file);
  const pieces: (string | undefined)[] = [];
  for (const [piece, id] of vocabulary) pieces[id] = piece;
  for (const { id, content } of added) pieces[id] = content;
  const unknown = typeof model.unk_token === "string" ? model.unk_token : null;
  return {
    file,
    vocabulary,
    pieces,
    merges: readMerges(model.merges, vocabulary, corrupt),
    added,
    byteFallback: model.byte_fallback === true,
    fuseUnknown: model.fuse_unk === true,
    ignoreMerges: model.ignore_merges === true,
    unknown,
    unkId: unknown === null ? null : (vocabulary.get(unknown) ?? null),
    normalizer: part(top.normalizer, "normalizer", corrupt),
    postProcessor: part(top.post_processor, "post_processor", corrupt),
    preTokenizer: part(top.pre_tokenizer, "pre_tokenizer", corrupt),
    decoder: part(top.decoder, "decoder", corrupt),
  };
}

/** The parts of a Sequence, or the part itself; none for null. */
export function partsOf(outer: Part | null, list: string, file: string): Part[] {
  if (outer === null) return [];
  if (outer.type !== "Sequence") return [outer];
  const items = outer[list];
  const corrupt = corruption(file);
  if (!Array.isArray(items)) return corrupt(`a Sequence has no list "${list}"`);
  return items.map((item) => part(item, list, corrupt) ?? corrupt(`"${list}" holds null`));
}

export function unsupported(file: string, what: string): never {
  throw new CodedError("TOKENIZER_UNSUPPORTED", `${file}: ${what} is not supported`, {
    hint: "A tokenizer.model beside this file is preferred to it, where the model was published with one",
  });
}

type Corrupt = (what: string) => never;

function corruption(file: string): Corrupt {
  return (what) => {
    throw new CodedError("TOKENIZER_CORRUPT", `${file}: ${what}`);
  };
}

/** Object.entries and own fields only: names come from the file. */
export function record(value: unknown): Readonly<Record<string, unknown>> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.assign(Object.create(null), value)
    : null;
}

function part(value: unknown, name: string, corrupt: Corrupt): Part | null {
  if (value === null || value === undefined) return null;
  const fields = record(value);
  if (typeof fields?.type !== "string") return corrupt(`"${name}" has no type`);
  return fields as Part;
}

function refuseOtherModels(model: Readonly<Record<string, unknown>>, file: string): void {
  // Old files leave out the type of a BPE model.
  const type = model.type ?? "BPE";
  if (type !== "BPE") unsupported(file, `model type ${JSON.stringify(type)}`);
  if (model.dropout) unsupported(file, "BPE dropout");
  for (const affix of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    if (model[affix]) unsupported(file, `"${affix}"`);
  }
}

function readVocabulary(value: unknown, corrupt: Corrupt): Map<string, number> {
  if (typeof value !== "object" || value === null) return corrupt('"model.vocab" is missing');
  const vocabulary = new Map<string, number>();
  const seen = new Set<number>();
  for (const [piece, id] of Object.entries(value)) {
    if (!isId(id)) return corrupt(`the id of ${JSON.stringify(piece)} is ${JSON.stringify(id)}`);
    if (seen.has(id)) return corrupt(`id ${id} is given to two pieces`);
    seen.add(id);
    vocabulary.set(piece, id);
  }
  if (vocabulary.size === 0) return corrupt('"model.vocab" is empty');
  return vocabulary;
}

/** Merges as "a b" or as pairs. */
export function readMerges(value: unknown, vocabulary: ReadonlyMap<string, number>, corrupt: Corrupt): PairTable {
  if (!Array.isArray(value)) return corrupt('"model.merges" is missing');
  const table = new PairTable(value.length);
  for (const [rank, merge] of value.entries()) {
    const pair: unknown[] = typeof merge === "string" ? merge.split(" ") : Array.isArray(merge) ? merge : [];
    const [left, right] = pair;
    if (pair.length !== 2 || typeof left !== "string" || typeof right !== "string") {
      return corrupt(`merge ${rank} is no pair of pieces`);
    }
    const ids = [left, right, left + right].map((piece) => vocabulary.get(piece) ?? -1);
    if (ids.includes(-1)) return corrupt(`merge ${rank} (${JSON.stringify(pair)}) is not in the vocabulary`);
    table.add(ids[0]!, ids[1]!, rank, ids[2]!);
  }
  return table;
}

/** A token that is in the vocabulary as well has its id there. */
function readAdded(value: unknown, vocabulary: ReadonlyMap<string, number>, file: string): AddedToken[] {
  if (value === null || value === undefined) return [];
  const corrupt = corruption(file);
  if (!Array.isArray(value)) return corrupt('"added_tokens" is no list');
  return value.map((item: unknown, index) => {
    const { id, ...fields } = record(item) ?? {};
    const token = addedTokenOf(id, fields) ?? corrupt(`added token ${index} is incomplete`);
    return { ...token, id: vocabulary.get(token.content) ?? token.id };
  });
}

/** The fields that tokenizer.json and tokenizer_config.json give a token; null where its id or text is missing. */
export function addedTokenOf(id: unknown, fields: Readonly<Record<string, unknown>>): AddedToken | null {
  const { content, special, single_word, lstrip, rstrip, normalized } = fields;
  if (!isId(id) || typeof content !== "string" || content === "") return null;
  return {
    id,
    content,
    special: special === true,
    lstrip: lstrip === true,
    rstrip: rstrip === true,
    singleWord: single_word === true,
    normalized: normalized === true,
  };
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < maxId;
}
