import { join } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { parseBoundedJson } from "../bounded-json.ts";
import { readRegularFile } from "../regular-file.ts";
import { runInSlices } from "../time-slices.ts";
import { jsonTokenizer, type SpecialTexts } from "./huggingface-json.ts";
import { refuseImpostor } from "./impostor.ts";
import { openingSentencePiece } from "./sentencepiece.ts";
import { isTiktoken, openingTiktoken } from "./tiktoken.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Published files reach 17 MB. */
const maxTokenizerBytes = 64 * 2 ** 20;

export interface OpenedTokenizer {
  readonly tokenizer: Tokenizer;
  readonly file: string;
  readonly kind: "SentencePiece" | "tiktoken" | "tokenizer.json" | "BPE";
  /** Ids that a SentencePiece model has for the beginning of a text and for the unknown: none of them ends a text. */
  readonly neverEos: readonly number[];
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
      refuseImpostor(bytes, file, "TOKENIZER_CORRUPT");
      if (isTiktoken(bytes)) {
        const tokenizer = await runInSlices(openingTiktoken(bytes, file));
        return { tokenizer, file, kind: "tiktoken", neverEos: [] };
      }
      const tokenizer = await runInSlices(openingSentencePiece(bytes, file));
      return { tokenizer, file, kind: "SentencePiece", neverEos: [tokenizer.bosId, tokenizer.unkId] };
    }
    const opened = await openJson(folder);
    if (opened !== null) return opened;
  }
  throw new CodedError("TOKENIZER_NOT_FOUND", `${folders.join(" and ")}: no tokenizer.model and no tokenizer.json`, {
    hint: "Put the tokenizer.model that came with the weights beside them",
  });
}

async function openJson(folder: string): Promise<OpenedTokenizer | null> {
  const file = join(folder, "tokenizer.json");
  const bytes = await readTokenizerFile(file);
  if (bytes === null) return null;
  refuseImpostor(bytes, file, "TOKENIZER_CORRUPT");
  const special = await specialTexts(join(folder, "tokenizer_config.json"));
  const tokenizer = jsonTokenizer(new TextDecoder().decode(bytes), file, special);
  return { tokenizer, file, kind: "tokenizer.json", neverEos: [] };
}

/** bos_token and eos_token, each a text or an object with the text as `content`. */
async function specialTexts(file: string): Promise<SpecialTexts> {
  const bytes = await readTokenizerFile(file);
  if (bytes === null) return { bos: null, eos: null };
  let config: unknown;
  try {
    config = parseBoundedJson(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new CodedError("TOKENIZER_CORRUPT", `${file}: not valid JSON: ${(error as Error).message}`, { cause: error });
  }
  const values = new Map(Object.entries(config ?? {}));
  const text = (name: string) => {
    const value = values.get(name);
    const content = typeof value === "object" && value !== null ? value.content : value;
    return typeof content === "string" && content !== "" ? content : null;
  };
  return { bos: text("bos_token"), eos: text("eos_token") };
}

/** null: there is no such file. */
function readTokenizerFile(file: string): Promise<Uint8Array | null> {
  return readRegularFile(file, {
    missing: "TOKENIZER_NOT_FOUND",
    corrupt: "TOKENIZER_CORRUPT",
    maxBytes: maxTokenizerBytes,
  });
}
