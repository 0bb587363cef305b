import type { Rope } from "../../../engine/config.ts";
import { CodedError } from "../../../errors/index.ts";
import { Fields } from "../fields.ts";
import { type RopeModel, ropeFromConfig, yarnMagnitude } from "../rope.ts";
import type { Metadata } from "./metadata.ts";

/**
 * The rotary embedding that `rope.*` of a GGUF header describes, as llama.cpp reads it. The scaling of Llama 3.1 is a tensor
 * of divisors instead.
 * Throws CHECKPOINT_UNSUPPORTED naming a variant that is not implemented, CHECKPOINT_CONFIG for an impossible value.
 */
export function ropeFromMetadata(
  metadata: Metadata,
  key: (name: string) => string,
  model: RopeModel,
  factors: Float32Array | null,
): Rope {
  const theta = metadata.positive(key("rope.freq_base"), 10_000);
  const scaling = scalingOf(metadata, key, model);
  const fields = new Fields({ rope_theta: theta, rope_scaling: scaling }, metadata.file);
  const rope = ropeFromConfig(fields, model);
  if (factors === null) return rope;
  if (factors.length !== model.headDim / 2 || !factors.every((factor) => Number.isFinite(factor) && factor > 0)) {
    throw new CodedError(
      "CHECKPOINT_TENSOR",
      `${metadata.file}: tensor "rope_freqs.weight" is not ${model.headDim / 2} numbers above 0`,
    );
  }
  return { ...rope, inverseFrequencies: rope.inverseFrequencies.map((value, i) => value / factors[i]!) };
}

/** In the words of Hugging Face's config.json; without the scaling that a tensor of divisors says. */
export function scalingOf(metadata: Metadata, key: (name: string) => string, model: RopeModel): object | null {
  const typeKey = key("rope.scaling.type");
  const factorKey = metadata.has(key("rope.scaling.factor")) ? key("rope.scaling.factor") : key("rope.scale_linear");
  // llama.cpp takes a factor without a type for a linear one, and 0 for none.
  const factor = metadata.raw(factorKey) === 0 ? 1 : metadata.positive(factorKey, 1);
  const type = metadata.text(typeKey) ?? "linear";
  switch (type) {
    case "none":
      return null;
    case "linear":
      return factor === 1 ? null : { rope_type: "linear", factor };
    case "yarn": {
      const attention = metadata.positive(key("rope.scaling.attn_factor"), 1);
      const original = metadata.positive(key("rope.scaling.original_context_length"), model.maxPositionEmbeddings);
      return {
        rope_type: "yarn",
        factor,
        original_max_position_embeddings: original,
        // What llama.cpp multiplies by its own factor is the whole of it for Hugging Face.
        ...(attention === 1 ? {} : { attention_factor: attention * yarnMagnitude(factor) }),
        beta_fast: metadata.positive(key("rope.scaling.yarn_beta_fast"), 32),
        beta_slow: metadata.positive(key("rope.scaling.yarn_beta_slow"), 1),
      };
    }
    default:
      return metadata.unsupported(typeKey, `rotary embedding "${type.slice(0, 100)}" is not supported`);
  }
}
