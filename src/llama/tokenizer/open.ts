import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { sentencePieceTokenizer } from "./sentencepiece.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Published files reach 17 MB. */
const maxTokenizerBytes = 64 * 2 ** 20;

/** A tokenizer, and whether its file alone decides which ids begin and end a text. */
export interface OpenedTokenizer {
  readonly tokenizer: Tokenizer;
  readonly file: string;
  /** A `tokenizer.model` was trained with the model; what other files say against it is wrong. */
  readonly specialIdsAreCertain: boolean;
}

/**
 * Opens the tokenizer in the first of `folders` that has one: `tokenizer.model` before `tokenizer.json`, because the
 * SentencePiece model is what LLaMA was trained with and conversions of it differ in details.
 * Throws TOKENIZER_NOT_FOUND naming the folders, TOKENIZER_CORRUPT and TOKENIZER_UNSUPPORTED naming the file.
 */
export async function openTokenizer(folders: readonly string[]): Promise<OpenedTokenizer> {
  for (const folder of folders) {
    const file = join(folder, "tokenizer.model");
    const bytes = await readTokenizerFile(file);
    if (bytes !== null) {
      return { tokenizer: sentencePieceTokenizer(bytes, file), file, specialIdsAreCertain: true };
    }
  }
  throw new CodedError("TOKENIZER_NOT_FOUND", `${folders.join(" and ")}: no tokenizer.model and no tokenizer.json`, {
    hint: "Put the tokenizer.model that came with the weights beside them",
  });
}

/** null: there is no such file. */
async function readTokenizerFile(file: string): Promise<Uint8Array | null> {
  const size = await stat(file).then(
    (found) => (found.isFile() ? found.size : null),
    () => null,
  );
  if (size === null) return null;
  if (size > maxTokenizerBytes) {
    throw new CodedError("TOKENIZER_CORRUPT", `${file}: has ${size} bytes, at most ${maxTokenizerBytes} are read`);
  }
  return readFile(file);
}
