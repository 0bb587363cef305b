import type { LlamaConfig } from "../../../engine/config.ts";
import type { TensorSource } from "../../../engine/engine.ts";
import { isBlockType } from "../../../engine/tensors/stored-types.ts";
import { CodedError } from "../../../errors/index.ts";
import { narrow } from "../narrow.ts";
import type { TensorPart } from "../tensor-parts.ts";
import { ggufName, interleavedHeads } from "./names.ts";
import { quantizeBlocks } from "./quantize.ts";
import type { GgufTensorToWrite } from "./write.ts";

/** Types that a model's matrices can be written in; norms and biases are always F32. */
export const ggufTypes = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"] as const;
export type GgufType = (typeof ggufTypes)[number];

/** The tensor from its first row to its last; each part holds a multiple of so many rows. */
type PartsOf = (together: number) => AsyncIterable<TensorPart>;

/** llama.cpp's architecture for the shape: the only ones that have biases, or norms of heads. */
export function architectureOf({ attentionBias, queryKeyNorm }: LlamaConfig): "llama" | "qwen2" | "qwen3" {
  if (queryKeyNorm) return "qwen3";
  return attentionBias ? "qwen2" : "llama";
}

/**
 * A model's tensor as GGUF has it: under GGUF's name, q and k in Meta's order, in `type` where it is a matrix whose rows are
 * whole blocks, else in F16.
 * @param source as the base has it
 * @param partsOf its values as they are to be written
 * @throws CHECKPOINT_UNSUPPORTED for a tensor that GGUF has no name for
 */
export function ggufTensor(
  name: string,
  source: TensorSource,
  config: LlamaConfig,
  type: GgufType,
  partsOf: PartsOf,
): GgufTensorToWrite {
  const written = ggufName(name);
  if (written === null) {
    throw new CodedError("CHECKPOINT_UNSUPPORTED", `${source.file}: tensor "${name}" has no name in GGUF`);
  }
  const { shape } = source;
  const columns = shape.at(-1)!;
  const dtype = shape.length < 2 ? "F32" : isBlockType(type) && columns % 32 !== 0 ? "F16" : type;
  const heads = interleavedHeads(written, architectureOf(config), config);
  return {
    name: written,
    dtype,
    shape,
    async *parts() {
      for await (const { values } of partsOf(heads === undefined ? 1 : shape[0]! / heads)) {
        yield encoded(heads === undefined ? values : pairsFromHalves(values, columns, shape[0]! / heads), dtype);
      }
    },
  };
}

function encoded(values: Float32Array, type: GgufType): Uint8Array {
  return isBlockType(type) ? quantizeBlocks(type, values) : narrow(values, type);
}

/**
 * Rows in Hugging Face's order, (i, i + headDim / 2) of a head turning together, into Meta's, (2i, 2i + 1).
 * @param width numbers of a row
 */
export function pairsFromHalves(values: Float32Array, width: number, headDim: number): Float32Array {
  const ordered = new Float32Array(values.length);
  for (let row = 0; row * width < values.length; row++) {
    const within = row % headDim;
    const from = row - within + (within >> 1) + (within & 1) * (headDim / 2);
    ordered.set(values.subarray(from * width, (from + 1) * width), row * width);
  }
  return ordered;
}
