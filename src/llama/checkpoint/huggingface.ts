import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { LlamaConfig } from "../../engine/config.ts";
import type { ModelWeights } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import { readRegularFile } from "../regular-file.ts";
import { type OpenedTokenizer, openTokenizer } from "../tokenizer/open.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { parseConfig, parseGenerationConfig } from "./config.ts";
import { parameters, shortCount } from "./describe.ts";
import { locateCheckpoint } from "./locate.ts";
import { isPlace, publishedName } from "./name.ts";
import { refuseOtherFormats } from "./other-formats.ts";
import { type ListedIds, specialIds } from "./special-ids.ts";
import { collectTensors, embeddingRows, expectedTensors } from "./tensors.ts";
import { findWeights } from "./weight-files.ts";

/** A model folder, checked: everything but the weights' bytes, which the engine reads itself. */
export interface Checkpoint {
  /** Absolute path of the folder that holds config.json. */
  readonly folder: string;
  /** The published name where there is one, else the folder's: for logs and adapter_config.json, never a path. */
  readonly name: string;
  /** null where nothing says under which name the model is published. */
  readonly publishedName: string | null;
  readonly config: LlamaConfig;
  readonly weights: ModelWeights;
  readonly tokenizer: Tokenizer;
  readonly tokenizerKind: OpenedTokenizer["kind"];
  /** null where no token stands before a text. */
  readonly bosTokenId: number | null;
  /** Every id that ends a generation; at least one. */
  readonly eosTokenIds: readonly number[];
  /** What was corrected or left out, one line each, for the log. */
  readonly warnings: readonly string[];
}

/**
 * Opens a Hugging Face LLaMA checkpoint: config.json, safetensors (single or sharded), the tokenizer beside it or in a
 * folder `tokenizer` next to it. `given` may also be the folder that holds the model's ("weights" for
 * "weights/llama-7b" and "weights/tokenizer"). Headers only are read.
 * Throws CHECKPOINT_* and TOKENIZER_* errors that name the file and what in it is wrong.
 */
export async function openCheckpoint(given: string): Promise<Checkpoint> {
  const folder = await locateCheckpoint(given);
  const configFile = join(folder, "config.json");
  const parsed = parseConfig((await readText(configFile)) ?? (await refuseWithoutConfig(folder)), configFile);
  const source = await findWeights(folder, [...expectedTensors(parsed.config)].length);
  const config = { ...parsed.config, vocabSize: embeddingRows(parsed.config, source) };
  const { tensors, ignored } = collectTensors(config, source);
  const opened = await openTokenizer([folder, join(dirname(folder), "tokenizer")], config.vocabSize);
  const { tokenizer } = opened;
  if (tokenizer.vocabSize > config.vocabSize) {
    throw new CodedError(
      "TOKENIZER_MISMATCH",
      `${opened.file}: has ${tokenizer.vocabSize} pieces, the model in ${folder} has ${config.vocabSize} embeddings`,
      { hint: "Use the tokenizer that came with these weights" },
    );
  }
  const listed = [{ ...parsed, file: configFile }, ...(await generationIds(folder))];
  const special = specialIds(listed, opened, config.vocabSize);
  const warnings = [...source.warnings, ...opened.warnings, ...special.warnings];
  if (tokenizer.vocabSize < config.vocabSize / 2) {
    const sizes = `${tokenizer.vocabSize} pieces for ${config.vocabSize} embeddings`;
    warnings.push(`${opened.file}: has ${sizes}: is it the tokenizer that came with these weights?`);
  }
  if (ignored.length > 0) {
    const more = ignored.length > 1 ? ` and ${ignored.length - 1} more` : "";
    warnings.push(`${source.file}: tensor "${ignored[0]}"${more} not used`);
  }
  const published = publishedName(parsed.nameOrPath, folder);
  return {
    folder,
    name: published ?? folderName(folder, config),
    publishedName: published,
    config,
    weights: { config, tensors },
    tokenizer,
    tokenizerKind: opened.kind,
    bosTokenId: tokenizer.bosId,
    eosTokenIds: special.eosTokenIds,
    warnings,
  };
}

/** A folder named after where it lies ("weights") says nothing: then the size is the name. */
function folderName(folder: string, config: LlamaConfig): string {
  const name = basename(folder);
  return isPlace(name) ? `llama-${shortCount(parameters(config)).replace(" ", "").toLowerCase()}` : name;
}

async function refuseWithoutConfig(folder: string): Promise<never> {
  const names = await readdir(folder);
  refuseOtherFormats(folder, names);
  const weights = names.find((name) => name.endsWith(".safetensors"));
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
