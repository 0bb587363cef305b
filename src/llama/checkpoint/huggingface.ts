import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { readRegularFile } from "../regular-file.ts";
import { openTokenizer } from "../tokenizer/open.ts";
import { readChatTemplate } from "./chat-template.ts";
import { parseConfig, parseGenerationConfig } from "./config.ts";
import { refuseOtherFormats } from "./other-formats.ts";
import type { CheckpointSource } from "./source.ts";
import type { ListedIds } from "./special-ids.ts";
import { expectedTensors } from "./tensors.ts";
import { findWeights } from "./weight-files.ts";

/**
 * A Hugging Face LLaMA checkpoint: config.json, safetensors (single or sharded), the tokenizer beside it or in a folder
 * `tokenizer` next to it.
 * Throws CHECKPOINT_* and TOKENIZER_* errors that name the file and what in it is wrong.
 */
export async function openHuggingFaceFolder(folder: string): Promise<CheckpointSource> {
  const configFile = join(folder, "config.json");
  const parsed = parseConfig((await readText(configFile)) ?? (await refuseWithoutConfig(folder)), configFile);
  const tokenizerFolders = [folder, join(dirname(folder), "tokenizer")];
  return {
    folder,
    file: null,
    config: parsed.config,
    weights: await findWeights(folder, [...expectedTensors(parsed.config)].length),
    givenName: parsed.nameOrPath,
    listed: [{ ...parsed, file: configFile }, ...(await generationIds(folder))],
    ...(await readChatTemplate(tokenizerFolders)),
    openTokenizer: (embeddings) => openTokenizer(tokenizerFolders, embeddings),
  };
}

async function refuseWithoutConfig(folder: string): Promise<never> {
  const names = await readdir(folder);
  refuseOtherFormats(folder, names);
  const weights = names.find((name) => /\.(safetensors|bin|pth?)$/.test(name));
  throw new CodedError("CHECKPOINT_NOT_FOUND", `${folder}: has ${weights ? `${weights}, but ` : ""}no config.json`, {
    hint: "Download config.json of the same model into it",
  });
}

async function generationIds(folder: string): Promise<ListedIds[]> {
  const file = join(folder, "generation_config.json");
  const text = await readText(file);
  return text === null ? [] : [{ ...parseGenerationConfig(text, file), file }];
}

/** These files have a few kilobytes. */
const maxConfigBytes = 2 ** 20;

/** null: there is no such file. */
async function readText(file: string): Promise<string | null> {
  const bytes = await readRegularFile(file, {
    missing: "CHECKPOINT_NOT_FOUND",
    corrupt: "CHECKPOINT_CONFIG",
    maxBytes: maxConfigBytes,
  });
  return bytes?.toString("utf8") ?? null;
}
