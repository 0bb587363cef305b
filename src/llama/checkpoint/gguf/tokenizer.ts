import { CodedError } from "../../../errors/index.ts";
import { type GgufTokenizerMetadata, ggufTokenizer } from "../../tokenizer/gguf.ts";
import type { OpenedTokenizer } from "../../tokenizer/open.ts";
import type { ListedIds } from "../special-ids.ts";
import type { Metadata } from "./metadata.ts";

const key = (name: string) => `tokenizer.ggml.${name}`;

/** The tokenizer in a GGUF header. Throws TOKENIZER_NOT_FOUND, TOKENIZER_CORRUPT, TOKENIZER_UNSUPPORTED naming the file. */
export async function openGgufTokenizer(metadata: Metadata): Promise<OpenedTokenizer> {
  const { file } = metadata;
  const description = describeTokenizer(metadata);
  if (description === null) {
    throw new CodedError("TOKENIZER_NOT_FOUND", `${file}: has no tokenizer ("tokenizer.ggml.tokens")`, {
      hint: "Take a GGUF file of the same model that has its tokenizer",
    });
  }
  const tokenizer = ggufTokenizer(description, file);
  const unknown = metadata.tokenId(key("unknown_token_id"));
  // As for SentencePiece's own files: old conversions list the beginning of a text as its end.
  const never = description.model === "llama" ? [tokenizer.bosId, unknown] : [];
  return {
    tokenizer,
    file,
    kind: description.model === "llama" ? "SentencePiece" : "BPE",
    neverEos: never.filter((id) => id !== null),
    warnings: [],
  };
}

/** What a chat template calls bos_token and its like. */
export function specialTexts(metadata: Metadata): Record<string, string> {
  const tokens = metadata.texts(key("tokens")) ?? [];
  const texts: Record<string, string> = {};
  for (const [name, id] of [
    ["bos_token", metadata.tokenId(key("bos_token_id"))],
    ["eos_token", metadata.tokenId(key("eos_token_id"))],
    ["unk_token", metadata.tokenId(key("unknown_token_id"))],
    ["pad_token", metadata.tokenId(key("padding_token_id"))],
  ] as const) {
    const text = id === null ? undefined : tokens[id];
    if (text !== undefined) texts[name] = text;
  }
  return texts;
}

function describeTokenizer(metadata: Metadata): GgufTokenizerMetadata | null {
  const tokens = metadata.texts(key("tokens"));
  const model = metadata.text(key("model"));
  if (tokens === null || model === null) return null;
  return {
    model,
    pre: metadata.text(key("pre")),
    tokens,
    tokenTypes: metadata.numbers(key("token_type")),
    scores: metadata.numbers(key("scores")),
    merges: metadata.texts(key("merges")),
    bosId: metadata.tokenId(key("bos_token_id")),
    eosId: metadata.tokenId(key("eos_token_id")),
    addBos: metadata.flag(key("add_bos_token")),
    addSpacePrefix: metadata.flag(key("add_space_prefix")),
  };
}

/** Texts of the tokens at which llama.cpp ends an answer, whichever model they belong to (llama-vocab.cpp). */
const endsOfGeneration: ReadonlySet<string> = new Set([
  "<|eot_id|>",
  "<|im_end|>",
  "<|end|>",
  "<|return|>",
  "<|call|>",
  "<end_of_turn>",
  "<|endoftext|>",
  "<|eom_id|>",
  "<EOT>",
  "_<EOT>",
  "<|end_of_text|>",
  "<end_of_utterance>",
]);

/** Types of sentencepiece_model.proto. */
const [control, userDefined] = [3, 4];

/** The ids that end an answer: those that keys name, and control tokens that end a turn. */
export function listedGgufIds(metadata: Metadata): ListedIds {
  const ends = new Set<number>();
  for (const name of ["eos", "eot", "eom"]) {
    const id = metadata.tokenId(key(`${name}_token_id`));
    if (id !== null) ends.add(id);
  }
  const bos = metadata.tokenId(key("bos_token_id"));
  const types = metadata.numbers(key("token_type"));
  for (const [id, token] of (metadata.texts(key("tokens")) ?? []).entries()) {
    const isMarker = types?.[id] === control || types?.[id] === userDefined;
    if (isMarker && endsOfGeneration.has(token)) ends.add(id);
  }
  return { file: metadata.file, bosTokenIds: bos === null ? [] : [bos], eosTokenIds: [...ends] };
}
