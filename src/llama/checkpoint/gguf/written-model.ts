import type { LlamaConfig } from "../../../engine/config.ts";
import type { TensorSource } from "../../../engine/engine.ts";
import { CodedError } from "../../../errors/index.ts";
import { narrow } from "../narrow.ts";
import { tensorParts } from "../tensor-parts.ts";
import { ggufName, projectionOf } from "./names.ts";
import { quantizeBlocks, type WritableBlock, writableBlocks } from "./quantize.ts";
import type { GgufTensorToWrite } from "./write.ts";

/** Types that a model's matrices can be written in; norms and biases are always F32. */
export const ggufTypes = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"] as const;
export type GgufType = (typeof ggufTypes)[number];

/** Changes some rows of a tensor in place; `first` is the number of the first. */
export type ChangeRows = (name: string, rows: Float32Array, first: number, columns: number) => void;

/** llama.cpp's architecture for the shape: the only ones that have biases, or norms of heads. */
export function architectureOf({ attentionBias, queryKeyNorm }: LlamaConfig): "llama" | "qwen2" | "qwen3" {
  if (queryKeyNorm) return "qwen3";
  return attentionBias ? "qwen2" : "llama";
}

/** Heads whose rows llama.cpp wants in Meta's order: those of q and k, of architecture llama. */
export function interleavedHeads(name: string, config: LlamaConfig): number | null {
  const projection = architectureOf(config) === "llama" ? projectionOf(name) : null;
  if (projection === null) return null;
  return projection === "q" ? config.heads : config.kvHeads;
}

/**
 * A model's tensor as GGUF has it: under GGUF's name, q and k in Meta's order, in `type` where it is a matrix whose rows are
 * whole blocks, else in F16.
 * @throws CHECKPOINT_UNSUPPORTED for a tensor that GGUF has no name for
 */
export function ggufTensor(
  name: string,
  source: TensorSource,
  config: LlamaConfig,
  type: GgufType,
  change: ChangeRows,
): GgufTensorToWrite {
  const written = ggufName(name);
  if (written === null) {
    throw new CodedError("CHECKPOINT_UNSUPPORTED", `${source.file}: tensor "${name}" has no name in GGUF`);
  }
  const { shape } = source;
  const columns = shape.at(-1)!;
  const dtype = shape.length < 2 ? "F32" : isBlock(type) && columns % 32 !== 0 ? "F16" : type;
  const heads = interleavedHeads(written, config);
  return {
    name: written,
    dtype,
    shape,
    async *parts() {
      for await (const { first, values } of tensorParts(source, heads === null ? 1 : shape[0]! / heads)) {
        change(name, values, first, columns);
        const width = shape.length < 2 ? 1 : columns;
        yield encoded(heads === null ? values : pairsFromHalves(values, width, shape[0]! / heads), dtype);
      }
    },
  };
}

function isBlock(type: GgufType): type is WritableBlock {
  return writableBlocks.some((block) => block === type);
}

function encoded(values: Float32Array, type: GgufType): Uint8Array {
  return isBlock(type) ? quantizeBlocks(type, values) : narrow(values, type);
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
