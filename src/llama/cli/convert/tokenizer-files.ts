import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BpeTokenizer } from "../../tokenizer/bpe-tokenizer.ts";
import { SentencePieceTokenizer } from "../../tokenizer/sentencepiece.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { tokenizerJson } from "../../tokenizer/write-json.ts";
import { sentencePieceBytes } from "../../tokenizer/write-sentencepiece.ts";

export interface TokenizerFilesOptions {
  /** Whether tokenizer.model is in the folder already. */
  readonly hasModel?: boolean;
  readonly chatTemplate: string | null;
  readonly maxLength: number;
  readonly eosTokenIds: readonly number[];
}

/**
 * Writes what transformers reads of a tokenizer: tokenizer.model (SentencePiece) or tokenizer.json, tokenizer_config.json
 * with the chat template, generation_config.json.
 */
export async function writeTokenizerFiles(
  folder: string,
  tokenizer: Tokenizer,
  { hasModel = false, chatTemplate, maxLength, eosTokenIds }: TokenizerFilesOptions,
): Promise<void> {
  const { bosId, eosId } = tokenizer;
  const isSentencePiece = tokenizer instanceof SentencePieceTokenizer;
  if (isSentencePiece && !hasModel)
    await writeFile(join(folder, "tokenizer.model"), sentencePieceBytes(tokenizer.model));
  if (tokenizer instanceof BpeTokenizer) await writeJson(join(folder, "tokenizer.json"), tokenizerJson(tokenizer));
  const unknown = isSentencePiece ? tokenizer.piece(tokenizer.model.unkId) : null;
  await writeJson(join(folder, "tokenizer_config.json"), {
    tokenizer_class: isSentencePiece ? "LlamaTokenizer" : "PreTrainedTokenizerFast",
    // tokenizer.json has BOS in its template.
    ...(isSentencePiece ? { add_bos_token: bosId !== null, add_eos_token: false } : {}),
    bos_token: bosId === null ? null : tokenizer.piece(bosId),
    eos_token: tokenizer.piece(eosId),
    ...(unknown === null ? {} : { unk_token: unknown }),
    model_max_length: maxLength,
    // transformers spells a space after a special token otherwise without it.
    ...(isSentencePiece ? { legacy: true } : {}),
    ...(chatTemplate === null ? {} : { chat_template: chatTemplate }),
  });
  await writeJson(join(folder, "generation_config.json"), {
    ...(bosId === null ? {} : { bos_token_id: bosId }),
    eos_token_id: eosTokenIds.length === 1 ? eosTokenIds[0] : eosTokenIds,
  });
}

async function writeJson(file: string, value: object): Promise<void> {
  await writeFile(file, `${JSON.stringify(value, null, 2)}\n`);
}
