import { join } from "node:path";
import { CodedError } from "../../../errors/index.ts";
import { readRegularFile } from "../../regular-file.ts";
import { runInSlices } from "../../time-slices.ts";
import { pieceTypes, readSentencePieceModel } from "../../tokenizer/sentencepiece-model.ts";
import { isTiktoken } from "../../tokenizer/tiktoken.ts";
import type { Checkpoint } from "../open.ts";
import { bpeWordsName } from "./bpe-words.ts";
import type { GgufWritten } from "./write.ts";

interface Vocabulary {
  readonly model: "llama" | "gpt2";
  readonly pre: string;
  readonly tokens: string[];
  readonly scores: number[] | null;
  readonly types: number[];
  readonly merges: string[] | null;
  readonly addSpacePrefix: boolean;
  readonly unknownId: number | null;
}

const maxBytes = 64 * 2 ** 20;
const reading = { missing: "TOKENIZER_NOT_FOUND", corrupt: "TOKENIZER_CORRUPT", maxBytes } as const;

/**
 * `tokenizer.*` of a GGUF header for the tokenizer in a Hugging Face folder, as llama.cpp's converter writes it.
 * @param folders where the files are, the first that has one
 * @throws TOKENIZER_UNSUPPORTED for one that GGUF cannot describe
 */
export async function tokenizerMetadata(
  folders: readonly string[],
  model: Pick<Checkpoint, "config" | "tokenizer" | "eosTokenIds" | "chatTemplate">,
): Promise<Map<string, GgufWritten>> {
  const vocabulary = await readVocabulary(folders);
  const { tokens, types, scores } = vocabulary;
  // Rows of the embedding without a token: llama.cpp wants a name for each.
  for (let id = tokens.length; id < model.config.vocabSize; id++) {
    tokens.push(`[PAD${id}]`);
    types.push(pieceTypes.unused);
    scores?.push(-1000);
  }
  const { bosId, eosId } = model.tokenizer;
  const key = (name: string) => `tokenizer.ggml.${name}`;
  const metadata = new Map<string, GgufWritten>([
    [key("model"), { text: vocabulary.model }],
    [key("pre"), { text: vocabulary.pre }],
    [key("tokens"), { texts: tokens }],
    [key("token_type"), { i32s: types }],
    [key("eos_token_id"), { u32: eosId }],
    [key("add_bos_token"), { bool: bosId !== null }],
    [key("add_eos_token"), { bool: false }],
    [key("add_space_prefix"), { bool: vocabulary.addSpacePrefix }],
  ]);
  if (scores !== null) metadata.set(key("scores"), { f32s: scores });
  if (vocabulary.merges !== null) metadata.set(key("merges"), { texts: vocabulary.merges });
  if (bosId !== null) metadata.set(key("bos_token_id"), { u32: bosId });
  if (vocabulary.unknownId !== null) metadata.set(key("unknown_token_id"), { u32: vocabulary.unknownId });
  if (model.chatTemplate !== null) metadata.set("tokenizer.chat_template", { text: model.chatTemplate });
  return metadata;
}

async function readVocabulary(folders: readonly string[]): Promise<Vocabulary> {
  for (const folder of folders) {
    const file = join(folder, "tokenizer.model");
    const bytes = await readRegularFile(file, reading);
    if (bytes !== null && !isTiktoken(bytes)) {
      const added = await readRegularFile(join(folder, "added_tokens.json"), reading);
      const ids = added === null ? {} : JSON.parse(added.toString("utf8"));
      return sentencePiece(bytes, file, new Map(Object.entries(ids)));
    }
    const json = join(folder, "tokenizer.json");
    const text = await readRegularFile(json, reading);
    if (text !== null) return tokenizerJson(JSON.parse(text.toString("utf8")), json);
    if (bytes !== null) {
      throw new CodedError("TOKENIZER_UNSUPPORTED", `${file}: is a list of ranks, which GGUF has no form for`, {
        hint: "Put the tokenizer.json of the same model beside it.",
      });
    }
  }
  throw new CodedError("TOKENIZER_NOT_FOUND", `${folders.join(" and ")}: no tokenizer.model and no tokenizer.json`);
}

async function sentencePiece(bytes: Uint8Array, file: string, added: Map<string, unknown>): Promise<Vocabulary> {
  const { pieces, addDummyPrefix, unkId } = await runInSlices(readSentencePieceModel(bytes, file));
  const tokens = pieces.map(({ text }) => text);
  const scores = pieces.map(({ score }) => score);
  const types = pieces.map(({ type }) => type);
  for (const [text, id] of [...added].sort(([, a], [, b]) => Number(a) - Number(b))) {
    if (Number(id) < pieces.length) continue;
    tokens[Number(id)] = text;
    scores[Number(id)] = -1000;
    types[Number(id)] = pieceTypes.userDefined;
  }
  return {
    model: "llama",
    pre: "default",
    tokens: Array.from(tokens, (token, id) => token ?? `[PAD${id}]`),
    scores: Array.from(scores, (score) => score ?? -1000),
    types: Array.from(types, (type) => type ?? pieceTypes.unused),
    merges: null,
    addSpacePrefix: addDummyPrefix,
    unknownId: unkId,
  };
}

interface TokenizerJson {
  readonly model: {
    readonly type?: string;
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (string | readonly [string, string])[];
    readonly byte_fallback?: boolean;
    readonly unk_token?: string | null;
  };
  readonly pre_tokenizer: unknown;
  readonly normalizer: unknown;
  readonly added_tokens?: readonly { readonly id: number; readonly content: string; readonly special?: boolean }[];
}

/** Checked when the checkpoint was opened. */
function tokenizerJson(json: TokenizerJson, file: string): Vocabulary {
  const { model, added_tokens: added = [] } = json;
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(model.vocab)) tokens[id] = token;
  const types: number[] = tokens.map((token) =>
    isByte(token) && model.byte_fallback ? pieceTypes.byte : pieceTypes.normal,
  );
  for (const { id, content, special } of added) {
    tokens[id] = content;
    types[id] = special ? pieceTypes.control : pieceTypes.userDefined;
  }
  const unknown = model.unk_token ?? null;
  const unknownId = unknown === null ? null : (model.vocab[unknown] ?? null);
  if (unknownId !== null && model.byte_fallback) types[unknownId] = pieceTypes.unknown;
  const named = Array.from(tokens, (token, id) => token ?? `[PAD${id}]`);
  const typed = Array.from(types, (type) => type ?? pieceTypes.unused);
  if (model.byte_fallback) {
    // A conversion of a SentencePiece model, whose scores fall from piece to piece.
    const scores = named.map((_, id) => -id);
    const addSpacePrefix = JSON.stringify([json.normalizer, json.pre_tokenizer]).includes('"Prepend"');
    return {
      model: "llama",
      pre: "default",
      tokens: named,
      scores,
      types: typed,
      merges: null,
      addSpacePrefix,
      unknownId,
    };
  }
  return {
    model: "gpt2",
    pre: bpeWordsName(json.pre_tokenizer, file),
    tokens: named,
    scores: null,
    types: typed,
    merges: model.merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" "))),
    addSpacePrefix: false,
    unknownId,
  };
}

function isByte(token: string): boolean {
  return /^<0x[0-9A-F]{2}>$/.test(token);
}
