import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { LlamaConfig } from "../../../engine/config.ts";
import { parseConfig } from "../config.ts";
import { locateCheckpoint } from "../locate.ts";
import { embeddingName } from "../tensors.ts";
import { type ConfigJson, metaConfig } from "./config.ts";
import type { ConvertedTensor } from "./converted-tensor.ts";
import { readParams } from "./params.ts";
import { readShards } from "./shards.ts";
import { convertedTensors, unusedNames } from "./tensors.ts";

/** A model as Meta publishes it (consolidated.NN.pth, params.json), checked: headers only have been read. */
export interface MetaModel {
  /** Absolute path of the folder that holds params.json. */
  readonly folder: string;
  readonly config: LlamaConfig;
  /** The same as the content of a Hugging Face config.json. */
  readonly configJson: ConfigJson;
  /** tokenizer.model beside the weights or one level up: SentencePiece's, or Llama 3's list of ranks; null: there is none. */
  readonly tokenizerFile: string | null;
  /** What was corrected or left out, one line each. */
  readonly warnings: readonly string[];
  /** The tensors in the order of a Hugging Face checkpoint; each is read when its `read` is called. */
  readonly tensors: readonly ConvertedTensor[];
}

/**
 * Opens a model as Meta publishes it, of 1 to N shards, or as Mistral does (consolidated.safetensors). `given` is its folder or
 * one that holds it ("unconverted-weights" with "7B" in it). To convert it: compareChecklist, tieHead, then write `configJson`
 * and every tensor's name, shape, dtype and `read()`.
 * Throws CHECKPOINT_* errors that name the file and what in it is wrong.
 */
export async function openMetaModel(given: string): Promise<MetaModel> {
  const folder = await locateCheckpoint(given);
  const params = await readParams(join(folder, "params.json"));
  const shards = await readShards(folder, params.layers);
  const { configJson, embeddingAxis, warnings } = metaConfig(params, shards);
  const { config } = parseConfig(JSON.stringify(configJson), params.file);
  const unused = unusedNames(config, shards);
  const more = unused.length > 1 ? ` and ${unused.length - 1} more` : "";
  return {
    folder,
    config,
    configJson,
    tokenizerFile: await tokenizerOf(folder),
    warnings: unused.length === 0 ? warnings : [...warnings, `${folder}: tensor "${unused[0]}"${more} not used`],
    tensors: convertedTensors(config, shards, embeddingAxis),
  };
}

/**
 * The same model with a tied head where its head is the embedding again, number by number, as in the releases of small
 * models. Both are read, one after the other.
 */
export async function tieHead(model: MetaModel): Promise<MetaModel> {
  const head = model.tensors.find(({ name }) => name === "lm_head.weight");
  const embedding = model.tensors.find(({ name }) => name === embeddingName)!;
  if (head === undefined || head.dtype !== embedding.dtype) return model;
  if ((await digest(head)) !== (await digest(embedding))) return model;
  return {
    ...model,
    config: { ...model.config, tiedHead: true },
    configJson: { ...model.configJson, tie_word_embeddings: true },
    tensors: model.tensors.filter((tensor) => tensor !== head),
  };
}

/** Stands for the bytes, so that one of the two is in memory at a time. */
async function digest(tensor: ConvertedTensor): Promise<string> {
  return createHash("sha256")
    .update(await tensor.read())
    .digest("hex");
}

async function tokenizerOf(folder: string): Promise<string | null> {
  for (const place of [folder, dirname(folder), join(dirname(folder), "tokenizer")]) {
    const file = join(place, "tokenizer.model");
    const found = await stat(file).catch(() => null);
    if (found?.isFile()) return file;
  }
  return null;
}
