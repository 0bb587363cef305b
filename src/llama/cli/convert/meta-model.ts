import { copyFile, readdir, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { WeightType } from "../../../engine/engine.ts";
import { tensorValues } from "../../../engine/tensors/values.ts";
import { say } from "../../../terminal/streams.ts";
import { parameters, shortCount } from "../../checkpoint/describe.ts";
import { locateCheckpoint } from "../../checkpoint/locate.ts";
import {
  type ConvertedTensor,
  compareChecklist,
  holdsMetaWeights,
  type MetaModel,
  openMetaModel,
  tieHead,
} from "../../checkpoint/meta/index.ts";
import { type StreamedTensor, tensorBytes } from "../../checkpoint/safetensors-writer.ts";
import { writeWeights } from "../../checkpoint/write-weights.ts";
import { openTokenizer } from "../../tokenizer/open.ts";
import { torchNames } from "../huggingface-config.ts";
import { Progress } from "../progress.ts";
import { writeTokenizerFiles } from "./tokenizer-files.ts";

export interface ConvertOptions {
  readonly dtype?: WeightType | undefined;
  readonly signal: AbortSignal;
}

/**
 * Writes a model as Meta publishes it as a Hugging Face folder, its shards joined, q and k in Hugging Face's order. Files
 * that checklist.chk lists are compared first.
 */
export async function convertMetaModel(
  given: string,
  folder: string,
  { dtype, signal }: ConvertOptions,
): Promise<void> {
  const opened = await openMetaModel(given);
  say(`model: Meta's files in ${opened.folder}, ${shortCount(parameters(opened.config))} parameters`);
  await check(opened, signal);
  const model = await tieHead(opened);
  for (const warning of model.warnings) say(`warning: ${warning}`);
  const tensors = model.tensors.map((tensor) => streamed(tensor, dtype ?? tensor.dtype, signal));
  const progress = new Progress("Converting", total(tensors));
  try {
    await writeWeights(folder, tensors, { onBytes: progress.add });
  } finally {
    progress.end();
  }
  const written = dtype ?? model.tensors[0]!.dtype;
  const config = { ...model.configJson, torch_dtype: torchNames[written] };
  await writeJson(join(folder, "config.json"), config);
  await writeTokenizer(model, folder);
}

/** The MD5 of every file, where Meta's list is there. */
async function check(model: MetaModel, signal: AbortSignal): Promise<void> {
  const bytes = model.tensors.reduce((sum, { shape, dtype }) => sum + tensorBytes({ shape, dtype }), 0);
  const progress = new Progress("Comparing with checklist.chk", bytes);
  try {
    const files = await compareChecklist(model.folder, { signal, onBytes: progress.add });
    if (files > 0) say(`${files} ${files === 1 ? "file is" : "files are"} what checklist.chk says`);
  } finally {
    progress.end();
  }
}

function streamed(tensor: ConvertedTensor, dtype: WeightType, signal: AbortSignal): StreamedTensor {
  return {
    name: tensor.name,
    shape: tensor.shape,
    dtype,
    async *parts() {
      signal.throwIfAborted();
      const bytes = await tensor.read();
      yield dtype === tensor.dtype ? bytes : tensorValues(tensor, bytes);
    },
  };
}

function total(tensors: readonly StreamedTensor[]): number {
  return tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
}

async function writeTokenizer({ tokenizerFile, config, configJson }: MetaModel, folder: string): Promise<void> {
  const ids = [configJson.eos_token_id].flat() as number[];
  if (tokenizerFile === null) {
    say("warning: there is no tokenizer.model beside the weights or one level up; the model is written without");
    return;
  }
  await copyFile(tokenizerFile, join(folder, "tokenizer.model"));
  const { tokenizer } = await openTokenizer([dirname(tokenizerFile)]);
  const maxLength = config.maxPositionEmbeddings;
  await writeTokenizerFiles(folder, tokenizer, { hasModel: true, chatTemplate: null, maxLength, eosTokenIds: ids });
}

async function writeJson(file: string, value: object): Promise<void> {
  await writeFile(file, `${JSON.stringify(value, null, 2)}\n`);
}

/** Weights in Meta's form, and no Hugging Face config beside them. */
export async function isMetaModel(given: string): Promise<boolean> {
  const place = await locateCheckpoint(given);
  if (!(await stat(place)).isDirectory()) return false;
  const names = await readdir(place);
  return holdsMetaWeights(names) && !names.includes("config.json");
}
