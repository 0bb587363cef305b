import { readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { LlamaConfig } from "../../engine/config.ts";
import type { ModelWeights } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import { type OpenedTokenizer, openTokenizer } from "../tokenizer/open.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { parseConfig, parseGenerationConfig } from "./config.ts";
import { type CheckpointFolders, locateCheckpoint } from "./locate.ts";
import { collectTensors, embeddingRows } from "./tensors.ts";
import { findWeights } from "./weight-files.ts";

/** A model folder, checked: everything but the weights' bytes, which the engine reads itself. */
export interface Checkpoint {
  /** Absolute path of the folder that holds config.json. */
  readonly folder: string;
  /** The published name where config.json has one, else the folder's: for logs and adapter_config.json, never a path. */
  readonly name: string;
  readonly config: LlamaConfig;
  readonly weights: ModelWeights;
  readonly tokenizer: Tokenizer;
  readonly bosTokenId: number;
  /** Every id that ends a generation; at least one. */
  readonly eosTokenIds: readonly number[];
  /** What was corrected or left out, one line each, for the log. */
  readonly warnings: readonly string[];
}

/**
 * Opens a Hugging Face LLaMA checkpoint: config.json, safetensors (single or sharded), the tokenizer beside it or in a
 * folder `tokenizer` next to it. `folder` may also be the one that holds the model's folder ("weights" for
 * "weights/llama-7b" and "weights/tokenizer"). Headers only are read.
 * Throws CHECKPOINT_* and TOKENIZER_* errors that name the file and what in it is wrong.
 */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  const folders = await locateCheckpoint(resolve(folder));
  const configFile = join(folders.model, "config.json");
  const parsed = parseConfig(await readText(configFile), configFile);
  const source = await findWeights(folders.model);
  const config = { ...parsed.config, vocabSize: embeddingRows(parsed.config, source) };
  const { tensors, ignored } = collectTensors(config, source);
  const opened = await openTokenizer(folders.tokenizer);
  const { tokenizer } = opened;
  if (tokenizer.vocabSize > config.vocabSize) {
    throw new CodedError(
      "TOKENIZER_MISMATCH",
      `${opened.file}: has ${tokenizer.vocabSize} pieces, the model in ${folders.model} has ${config.vocabSize} embeddings`,
      { hint: "Use the tokenizer that came with these weights" },
    );
  }
  const generationIds = await generationEos(folders);
  const special = specialIds(parsed, generationIds, opened, config.vocabSize);
  const warnings = special.warnings.map((line) => `${configFile}: ${line}`);
  if (ignored.length > 0) {
    const more = ignored.length > 1 ? ` and ${ignored.length - 1} more` : "";
    warnings.push(`${source.file}: tensor "${ignored[0]}"${more} not used`);
  }
  return {
    folder: folders.model,
    name: parsed.publishedName ?? basename(folders.model),
    config,
    weights: { config, tensors },
    tokenizer,
    bosTokenId: tokenizer.bosId,
    eosTokenIds: special.eosTokenIds,
    warnings,
  };
}

async function generationEos(folders: CheckpointFolders): Promise<readonly number[]> {
  const file = join(folders.model, "generation_config.json");
  const there = await stat(file).then(
    (found) => found.isFile(),
    () => false,
  );
  return there ? parseGenerationConfig(await readText(file), file) : [];
}

interface ListedIds {
  readonly bosTokenIds: readonly number[];
  readonly eosTokenIds: readonly number[];
}

/** The ids that end a text. The first conversions of LLaMA list wrong ones, which the tokenizer then overrules. */
function specialIds(listed: ListedIds, generationIds: readonly number[], opened: OpenedTokenizer, rows: number) {
  const { tokenizer, specialIdsAreCertain } = opened;
  const warnings: string[] = [];
  const all = new Set([tokenizer.eosId, ...listed.eosTokenIds, ...generationIds]);
  const eosTokenIds: number[] = [];
  for (const id of all) {
    // Ids past the SentencePiece model are tokens added for chat; their meaning is config.json's to say.
    const contradicted = specialIdsAreCertain && id !== tokenizer.eosId && id < tokenizer.vocabSize;
    if (id < rows && !contradicted) eosTokenIds.push(id);
    else warnings.push(`"eos_token_id" ${id} ignored, the tokenizer says ${tokenizer.eosId}`);
  }
  const [bos] = listed.bosTokenIds;
  if (bos !== undefined && bos !== tokenizer.bosId) {
    warnings.push(`"bos_token_id" ${bos} ignored, the tokenizer says ${tokenizer.bosId}`);
  }
  return { eosTokenIds, warnings };
}

/** These files have a few kilobytes. */
const maxConfigBytes = 16 * 2 ** 20;

async function readText(file: string): Promise<string> {
  const { size } = await stat(file);
  if (size > maxConfigBytes) {
    throw new CodedError("CHECKPOINT_CONFIG", `${file}: has ${size} bytes, at most ${maxConfigBytes} are read`);
  }
  return readFile(file, "utf8");
}
