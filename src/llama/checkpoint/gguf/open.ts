import { dirname } from "node:path";
import type { LlamaConfig } from "../../../engine/config.ts";
import { isStoredType } from "../../../engine/tensors/stored-types.ts";
import { CodedError } from "../../../errors/index.ts";
import { readTensor } from "../read-tensor.ts";
import type { CheckpointSource } from "../source.ts";
import type { TensorEntry } from "../tensors.ts";
import type { FoundWeights } from "../weight-files.ts";
import { architectureOf, configFromMetadata } from "./config.ts";
import type { GgufTensor } from "./header.ts";
import { Metadata } from "./metadata.ts";
import { givenName } from "./model-name.ts";
import { huggingFaceName, interleavedHeads } from "./names.ts";
import { readParts } from "./parts.ts";
import { listedGgufIds, openGgufTokenizer, specialTexts } from "./tokenizer.ts";

/** Read here, and no weights of the model. */
const ropeTensor = "rope_freqs.weight";

/**
 * A GGUF file of a LLaMA, or a split one by any of its parts: configuration, tensors, tokenizer and chat template of its
 * header.
 * Throws CHECKPOINT_* errors that name the file and the key or tensor in it that is wrong.
 */
export async function openGguf(file: string): Promise<CheckpointSource> {
  const [first, ...rest] = await readParts(file);
  const metadata = new Metadata(first);
  const tensors = new Map([first, ...rest].flatMap((header) => [...header.tensors]));
  const config = configFromMetadata(metadata, tensors, await ropeFactors(tensors.get(ropeTensor)));
  tensors.delete(ropeTensor);
  return {
    folder: dirname(first.file),
    file: first.file,
    config,
    weights: finder(tensors, first.file, architectureOf(metadata).type, config),
    givenName: givenName(metadata),
    listed: [listedGgufIds(metadata)],
    chatTemplate: metadata.text("tokenizer.chat_template"),
    templateTexts: specialTexts(metadata),
    openTokenizer: () => openGgufTokenizer(metadata),
  };
}

/** The tensors by Hugging Face's names. */
function finder(
  tensors: ReadonlyMap<string, GgufTensor>,
  file: string,
  architecture: string,
  config: LlamaConfig,
): FoundWeights {
  const entries = new Map<string, TensorEntry>();
  for (const [name, tensor] of tensors) {
    entries.set(huggingFaceName(name), { ...tensor, interleavedHeads: interleavedHeads(name, architecture, config) });
  }
  return { names: [...entries.keys()], find: (name) => entries.get(name), file, warnings: [] };
}

/** [headDim / 2], or null where the file has none. */
async function ropeFactors(tensor: GgufTensor | undefined): Promise<Float32Array | null> {
  if (tensor === undefined) return null;
  const { file, offset, dtype, shape, bytes } = tensor;
  // A head has far fewer dimensions: a tensor of another size is refused by its length, without being read.
  if (shape.length !== 1 || bytes > 2 ** 20 || !isStoredType(dtype)) {
    throw new CodedError("CHECKPOINT_TENSOR", `${file}: tensor "${ropeTensor}" is ${dtype} of shape [${shape}]`);
  }
  return readTensor({ file, offset, dtype, shape });
}
