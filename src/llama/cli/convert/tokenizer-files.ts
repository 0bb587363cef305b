import { readFile } from "node:fs/promises";
import { runInSlices } from "../../time-slices.ts";
import { readSentencePieceModel } from "../../tokenizer/sentencepiece-model.ts";
import { isTiktoken } from "../../tokenizer/tiktoken.ts";

/** tokenizer_config.json for a tokenizer.model of SentencePiece; null for a file of another kind. */
export async function sentencePieceConfig(file: string, maxLength: number): Promise<object | null> {
  const bytes = await readFile(file);
  if (isTiktoken(bytes)) return null;
  const { pieces, bosId, eosId, unkId } = await runInSlices(readSentencePieceModel(bytes, file));
  return {
    tokenizer_class: "LlamaTokenizer",
    add_bos_token: bosId >= 0,
    add_eos_token: false,
    bos_token: pieces[bosId]?.text ?? null,
    eos_token: pieces[eosId]?.text ?? null,
    unk_token: pieces[unkId]!.text,
    model_max_length: maxLength,
    // transformers spells a space after a special token otherwise without it.
    legacy: true,
  };
}
