import { join } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { readRegularFile } from "../regular-file.ts";
import { runInSlices } from "../time-slices.ts";
import { jsonTokenizer } from "./huggingface-json.ts";
import { refuseImpostor } from "./impostor.ts";
import { openingSentencePiece } from "./sentencepiece.ts";
import { isTiktoken, openingTiktoken } from "./tiktoken.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { type ConfigFiles, configFileNames, readTokenizerConfig, type TokenizerConfig } from "./tokenizer-config.ts";

/** Published files reach 17 MB. */
const maxTokenizerBytes = 64 * 2 ** 20;

export interface OpenedTokenizer {
  readonly tokenizer: Tokenizer;
  readonly file: string;
  readonly kind: "SentencePiece" | "tiktoken" | "tokenizer.json" | "BPE";
  /** Ids that a SentencePiece model has for the beginning of a text and for the unknown: none of them ends a text. */
  readonly neverEos: readonly number[];
  /** What the files say and is not followed, one line each, for the log. */
  readonly warnings: readonly string[];
}

/**
 * Opens the tokenizer in the first of `folders` that has one: `tokenizer.model` before `tokenizer.json`, because the
 * SentencePiece model is what LLaMA was trained with and conversions of it differ in details.
 * @param embeddings rows of the model's embedding: added tokens past them are left out, with a warning
 * Throws TOKENIZER_NOT_FOUND naming the folders, TOKENIZER_CORRUPT and TOKENIZER_UNSUPPORTED naming the file.
 */
export async function openTokenizer(
  folders: readonly string[],
  embeddings = Number.POSITIVE_INFINITY,
): Promise<OpenedTokenizer> {
  for (const folder of folders) {
    const file = join(folder, "tokenizer.model");
    const bytes = await readTokenizerFile(file);
    if (bytes !== null) {
      refuseImpostor(bytes, file, "TOKENIZER_CORRUPT");
      if (isTiktoken(bytes)) {
        const tokenizer = await runInSlices(openingTiktoken(bytes, file));
        return { tokenizer, file, kind: "tiktoken", neverEos: [], warnings: [] };
      }
      const { config, warnings } = await openConfig(folder, embeddings);
      const tokenizer = await runInSlices(openingSentencePiece(bytes, file, config));
      const neverEos = [tokenizer.model.bosId, tokenizer.unkId];
      return { tokenizer, file, kind: "SentencePiece", neverEos, warnings };
    }
    const opened = await openJson(folder, embeddings);
    if (opened !== null) return opened;
  }
  throw new CodedError("TOKENIZER_NOT_FOUND", `${folders.join(" and ")}: no tokenizer.model and no tokenizer.json`, {
    hint: "Put the tokenizer.model that came with the weights beside them",
  });
}

async function openJson(folder: string, embeddings: number): Promise<OpenedTokenizer | null> {
  const file = join(folder, "tokenizer.json");
  const bytes = await readTokenizerFile(file);
  if (bytes === null) return null;
  refuseImpostor(bytes, file, "TOKENIZER_CORRUPT");
  const { config, warnings } = await openConfig(folder, embeddings);
  const tokenizer = jsonTokenizer(new TextDecoder().decode(bytes), file, config);
  return { tokenizer, file, kind: "tokenizer.json", neverEos: [], warnings };
}

/** What the files beside a vocabulary say, and what of it is not followed. */
async function openConfig(
  folder: string,
  embeddings: number,
): Promise<{ config: TokenizerConfig; warnings: string[] }> {
  const texts: ConfigFiles = {};
  for (const name of configFileNames) {
    const bytes = await readTokenizerFile(join(folder, name));
    if (bytes !== null) texts[name] = new TextDecoder().decode(bytes);
  }
  const config = readTokenizerConfig(texts, (name) => join(folder, name));
  const warnings: string[] = [];
  if (config.addEos === true) {
    warnings.push(
      `${join(folder, "tokenizer_config.json")}: "add_eos_token" changes nothing: prompts never end with the end token, ` +
        "rows of a training always do",
    );
  }
  for (const { content, id } of config.added) {
    if (id < embeddings) continue;
    warnings.push(`${folder}: added token ${JSON.stringify(content)} ignored: ${id} is past ${embeddings} embeddings`);
  }
  return { config: { ...config, added: config.added.filter(({ id }) => id < embeddings) }, warnings };
}

/** null: there is no such file. */
function readTokenizerFile(file: string): Promise<Uint8Array | null> {
  return readRegularFile(file, {
    missing: "TOKENIZER_NOT_FOUND",
    corrupt: "TOKENIZER_CORRUPT",
    maxBytes: maxTokenizerBytes,
  });
}
