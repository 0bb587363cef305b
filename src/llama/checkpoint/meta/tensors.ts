import type { LlamaConfig } from "../../../engine/config.ts";
import { CodedError } from "../../../errors/index.ts";
import type { PytorchEntry } from "../pytorch/tensors.ts";
import { isWeightType } from "../safetensors.ts";
import { expectedTensors } from "../tensors.ts";
import { type ConvertedTensor, readWhole } from "./converted-tensor.ts";
import { type Axis, isFrequencies, type MetaName, metaNames } from "./names.ts";
import type { MetaShard } from "./shards.ts";

/**
 * Every tensor of the model, its parts found in all shards and checked against `config`; nothing is read.
 * Throws CHECKPOINT_TENSOR naming the shard that lacks a tensor, or both shapes; CHECKPOINT_UNSUPPORTED for a type of number.
 */
export function convertedTensors(
  config: LlamaConfig,
  shards: readonly MetaShard[],
  embeddingAxis: 0 | 1,
): ConvertedTensor[] {
  const names = metaNames(config.layers, embeddingAxis);
  return [...expectedTensors(config)].map(([name, shape]) => {
    const { meta, axis, interleaved } = names.get(name)!;
    const parts = shards.map(({ file, tensors }) => found(meta, tensors.get(meta), file));
    const dtype = parts[0]!.dtype;
    const whole = joinedShape(parts, axis);
    if (whole === null || whole.join() !== shape.join()) {
      const cut = parts.map((part) => `[${part.shape.join(", ")}]`).join(", ");
      throw new CodedError(
        "CHECKPOINT_TENSOR",
        `${shards[0]!.file}: tensor "${meta}" has shape ${cut}${parts.length > 1 ? " in the shards" : ""}, ` +
          `params.json asks for [${shape.join(", ")}]${parts.length > 1 ? " in all" : ""}`,
      );
    }
    if (!isWeightType(dtype) || parts.some((part) => part.dtype !== dtype)) {
      const types = [...new Set(parts.map((part) => part.dtype))].join(" and ");
      throw new CodedError("CHECKPOINT_UNSUPPORTED", `${shards[0]!.file}: tensor "${meta}" is stored as ${types}`, {
        hint: "Weights in F32, F16 and BF16 can be converted",
      });
    }
    const interleavedHeads = interleaved === null ? null : config[interleaved];
    return { name, shape, dtype, read: () => readWhole({ dtype, shape }, { parts, axis, interleavedHeads }) };
  });
}

/** Tensors of the shards that the model does not use, beside frequencies of the rotary embedding. */
export function unusedNames(config: LlamaConfig, shards: readonly MetaShard[]): string[] {
  const used = new Set([...metaNames(config.layers, 0).values()].map(({ meta }: MetaName) => meta));
  const names = new Set(shards.flatMap(({ tensors }) => [...tensors.keys()]));
  return [...names].filter((name) => !used.has(name) && !isFrequencies(name));
}

function found(meta: string, entry: PytorchEntry | undefined, file: string): PytorchEntry {
  if (entry !== undefined) return entry;
  throw new CodedError("CHECKPOINT_TENSOR", `${file}: tensor "${meta}" is missing`);
}

/** null: the parts do not fit together. */
function joinedShape(parts: readonly PytorchEntry[], axis: Axis): readonly number[] | null {
  const [first] = parts;
  const isAlike = (part: PytorchEntry) =>
    part.shape.length === first!.shape.length && part.shape.every((size, i) => i === axis || size === first!.shape[i]);
  if (!parts.every(isAlike)) return null;
  return first!.shape.map((size, i) => (i === axis ? parts.reduce((sum, part) => sum + part.shape[i]!, 0) : size));
}
