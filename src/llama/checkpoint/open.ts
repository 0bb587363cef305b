import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { LlamaConfig } from "../../engine/config.ts";
import type { ModelWeights } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import type { OpenedTokenizer } from "../tokenizer/open.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { parameters, shortCount } from "./describe.ts";
import { openGguf } from "./gguf/open.ts";
import { openHuggingFaceFolder } from "./huggingface.ts";
import { locateCheckpoint } from "./locate.ts";
import { isPlace, publishedName } from "./name.ts";
import type { CheckpointSource } from "./source.ts";
import { specialIds } from "./special-ids.ts";
import { collectTensors, embeddingRows } from "./tensors.ts";

/** A model, checked: everything but the weights' bytes, which the engine reads itself. */
export interface Checkpoint {
  /** Absolute path of the folder that the model's files lie in. */
  readonly folder: string;
  /** Absolute path where the model is one file (the first of a split one); null for a folder. */
  readonly file: string | null;
  /** The published name where there is one, else the file's or folder's: for logs and adapter_config.json, never a path. */
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
  /** The model's own chat template, in Jinja; null where its files have none. */
  readonly chatTemplate: string | null;
  /** What the template calls bos_token, eos_token and their like, where the files say so. */
  readonly templateTexts?: Readonly<Record<string, string>> | undefined;
  /** What was corrected or left out, one line each, for the log. */
  readonly warnings: readonly string[];
}

/**
 * Opens a LLaMA checkpoint: a Hugging Face folder or a GGUF file. `given` is the folder, the file, or a folder that holds
 * one of them ("weights" for "weights/llama-7b" and "weights/tokenizer"). Headers only are read.
 * Throws CHECKPOINT_* and TOKENIZER_* errors that name the file and what in it is wrong.
 */
export async function openCheckpoint(given: string): Promise<Checkpoint> {
  const place = await locateCheckpoint(given);
  const isFile = (await stat(place)).isFile();
  return checked(await (isFile ? openGguf(place) : openHuggingFaceFolder(place)));
}

async function checked(source: CheckpointSource): Promise<Checkpoint> {
  const { folder, file } = source;
  const config = { ...source.config, vocabSize: embeddingRows(source.config, source.weights) };
  const { tensors, ignored } = collectTensors(config, source.weights);
  const opened = await source.openTokenizer(config.vocabSize);
  const { tokenizer } = opened;
  if (tokenizer.vocabSize > config.vocabSize) {
    const model = file === null ? `the model in ${folder}` : "its model";
    throw new CodedError(
      "TOKENIZER_MISMATCH",
      `${opened.file}: has ${tokenizer.vocabSize} pieces, ${model} has ${config.vocabSize} embeddings`,
      { hint: "Use the tokenizer that came with these weights" },
    );
  }
  const special = specialIds(source.listed, opened, config.vocabSize);
  const warnings = [...source.weights.warnings, ...opened.warnings, ...special.warnings];
  if (tokenizer.vocabSize < config.vocabSize / 2) {
    const sizes = `${tokenizer.vocabSize} pieces for ${config.vocabSize} embeddings`;
    warnings.push(`${opened.file}: has ${sizes}: is it the tokenizer that came with these weights?`);
  }
  if (ignored.length > 0) {
    const more = ignored.length > 1 ? ` and ${ignored.length - 1} more` : "";
    warnings.push(`${source.weights.file}: tensor "${ignored[0]}"${more} not used`);
  }
  const published = publishedName(source.givenName, folder);
  return {
    folder,
    file,
    name: published ?? placeName(file?.replace(/(-\d{5}-of-\d{5})?\.gguf$/i, "") ?? folder, config),
    publishedName: published,
    config,
    weights: { config, tensors },
    tokenizer,
    tokenizerKind: opened.kind,
    bosTokenId: tokenizer.bosId,
    eosTokenIds: special.eosTokenIds,
    chatTemplate: source.chatTemplate,
    templateTexts: source.templateTexts,
    warnings,
  };
}

/** A model named after where it lies ("weights") says nothing: then the size is the name. */
function placeName(place: string, config: LlamaConfig): string {
  const name = basename(place);
  return isPlace(name) ? `llama-${shortCount(parameters(config)).replace(" ", "").toLowerCase()}` : name;
}
