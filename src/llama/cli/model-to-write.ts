import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { TensorSource, WeightType } from "../../engine/engine.ts";
import { inBase } from "../adapter/merge.ts";
import { changedParts, type WeightChanges } from "../adapter/weight-change.ts";
import { type Checkpoint, isWeightType } from "../checkpoint/index.ts";
import { type StreamedTensor, tensorBytes } from "../checkpoint/safetensors-writer.ts";
import { copySideFiles, isTokenizerFile } from "../checkpoint/side-files.ts";
import { writeWeights } from "../checkpoint/write-weights.ts";
import { writeTokenizerFiles } from "./convert/tokenizer-files.ts";
import { huggingFaceConfig } from "./huggingface-config.ts";
import { Progress } from "./progress.ts";

export interface WriteModelOptions {
  /** Type of all tensors; each keeps its own where not given. */
  readonly dtype?: WeightType | undefined;
  /** The base's tensors, whose types are kept, where those of adapters stand for some of them. */
  readonly base?: ReadonlyMap<string, TensorSource>;
  /** What adapters change. */
  readonly changes?: WeightChanges;
  /** Where the tokenizer is not the base's. */
  readonly tokenizerFolder?: string | null;
  readonly signal: AbortSignal;
  /** "Merging", for the progress. */
  readonly what: string;
}

/** Writes a Hugging Face folder that transformers loads: config.json, weights, tokenizer, defaults of generation. */
export async function writeModel(folder: string, model: Checkpoint, options: WriteModelOptions): Promise<void> {
  const tensors = [...model.weights.tensors].map(([name, source]) => streamed(name, source, options));
  const progress = new Progress(
    options.what,
    tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0),
  );
  try {
    await writeWeights(folder, tensors, { onBytes: progress.add });
  } finally {
    progress.end();
  }
  const { tokenizerFolder = null } = options;
  if (tokenizerFolder !== null) {
    await copySideFiles([tokenizerFolder], folder, isTokenizerFile);
    await copySideFiles([model.folder], folder, (name) => !isTokenizerFile(name));
  } else if (model.file === null) {
    await copySideFiles([model.folder, join(dirname(model.folder), "tokenizer")], folder);
  } else {
    const { tokenizer, chatTemplate, eosTokenIds } = model;
    const maxLength = model.config.maxPositionEmbeddings;
    await writeTokenizerFiles(folder, tokenizer, { chatTemplate, eosTokenIds, maxLength });
  }
  const config = await huggingFaceConfig(model, mostOf(tensors));
  await writeFile(join(folder, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
}

/** What a stored type is written as where no other is asked for: blocks of codes have no place in safetensors. */
export function plainType(dtype: string): WeightType {
  return isWeightType(dtype) ? dtype : "F16";
}

function streamed(
  name: string,
  source: TensorSource,
  { dtype, base, changes, signal }: WriteModelOptions,
): StreamedTensor {
  return {
    name,
    shape: source.shape,
    dtype: dtype ?? plainType((base === undefined ? source : inBase(name, base)).dtype),
    async *parts() {
      for await (const { values } of changedParts(source, changes?.get(name))) {
        signal.throwIfAborted();
        yield values;
      }
    },
  };
}

/** The type of most numbers. */
function mostOf(tensors: readonly StreamedTensor[]): WeightType {
  const bytes = new Map<WeightType, number>();
  for (const tensor of tensors) {
    const dtype = tensor.dtype ?? "F32";
    bytes.set(dtype, (bytes.get(dtype) ?? 0) + tensorBytes(tensor));
  }
  return [...bytes].sort(([, a], [, b]) => b - a)[0]![0];
}
