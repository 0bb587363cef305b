import { CodedError } from "../../errors/index.ts";
import type { Steps } from "../time-slices.ts";
import { BpeTokenizer } from "./bpe-tokenizer.ts";
import { byteCharacters, spell } from "./byte-spelling.ts";
import { mergesOfPieces } from "./pair-table.ts";
import { byteLevelAfter, llama3Pattern } from "./published-patterns.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { type AddedToken, addedToken, byteLevelJson } from "./tokenizer-json.ts";

/** Ids past the ranks that LLaMA 3 reserves; the names are Meta's, by their place. */
const specialTokens = 256;
const specialNames = new Map([
  [0, "<|begin_of_text|>"],
  [1, "<|end_of_text|>"],
  [4, "<|finetune_right_pad_id|>"],
  [6, "<|start_header_id|>"],
  [7, "<|end_header_id|>"],
  [8, "<|eom_id|>"],
  [9, "<|eot_id|>"],
  [10, "<|python_tag|>"],
]);

const maxRanks = 2 ** 20;

/** Whether these are lines of "base64 rank", which is what LLaMA 3's tokenizer.model is. */
export function isTiktoken(bytes: Uint8Array): boolean {
  return /^[A-Za-z0-9+/]+={0,2} \d+\r?\n/.test(Buffer.from(bytes.subarray(0, 256)).toString("latin1"));
}

/**
 * Opens LLaMA 3's own tokenizer.model. Pairs merge whose bytes joined are a token, the lowest rank first.
 * Throws TOKENIZER_CORRUPT naming file and line.
 */
export function* openingTiktoken(bytes: Uint8Array, file: string): Steps<Tokenizer> {
  const ids = new Map<string, number>();
  const pieces: string[] = [];
  const lines = Buffer.from(bytes).toString("latin1").trimEnd().split("\n");
  for (const [index, line] of lines.entries()) {
    const [, token, rank] = /^([A-Za-z0-9+/]{1,4096}={0,2}) (\d{1,9})\r?$/.exec(line) ?? [];
    const piece = token === undefined ? "" : spell(Buffer.from(token, "base64"));
    if (piece === "" || Number(rank) !== index || index >= maxRanks || ids.has(piece)) {
      throw new CodedError("TOKENIZER_CORRUPT", `${file}: line ${index + 1} is no new token with rank ${index}`);
    }
    if (index % 64 === 0) yield;
    ids.set(piece, index);
    pieces.push(piece);
  }
  const missing = byteCharacters.findIndex((character) => !ids.has(character));
  if (missing >= 0) throw new CodedError("TOKENIZER_CORRUPT", `${file}: has no token for byte ${missing}`);
  const first = pieces.length;
  const added: AddedToken[] = Array.from({ length: specialTokens }, (_, place) => {
    const content = specialNames.get(place) ?? `<|reserved_special_token_${place}|>`;
    return addedToken(first + place, content, true);
  });
  const { table } = yield* mergesOfPieces(ids, (id) => id, first);
  const definition = byteLevelJson({
    file,
    vocabulary: ids,
    pieces: [...pieces, ...added.map((token) => token.content)],
    merges: table,
    added,
    ignoreMerges: true,
    normalizer: null,
    preTokenizer: byteLevelAfter([{ type: "Split", pattern: { Regex: llama3Pattern }, behavior: "Isolated" }]),
  });
  return new BpeTokenizer(definition, first, first + 1);
}
