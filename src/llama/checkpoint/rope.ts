import type { Rope } from "../../engine/config.ts";
import type { Fields } from "./fields.ts";

export interface RopeModel {
  readonly headDim: number;
  readonly maxPositionEmbeddings: number;
}

/**
 * The rotary embedding that config.json describes, either as `rope_theta` and `rope_scaling` or as the
 * `rope_parameters` that transformers 5 writes. In float32 steps, as transformers' modeling_rope_utils.py computes it.
 * Throws CHECKPOINT_UNSUPPORTED naming a variant that is not implemented, CHECKPOINT_CONFIG for an impossible value.
 */
export function ropeFromConfig(config: Fields, model: RopeModel): Rope {
  const { parameters, theta, typeName, type } = ropeParameters(config);
  const inverse = inverseFrequencies(theta, model.headDim);
  if (parameters === null) return { inverseFrequencies: inverse, attentionScaling: 1 };
  switch (type) {
    case "default":
    // Differs from "default" only beyond max_position_embeddings, where no sequence of ours goes.
    case "dynamic":
      return { inverseFrequencies: inverse, attentionScaling: 1 };
    case "linear": {
      const factor = parameters.positive("factor");
      return { inverseFrequencies: inverse.map((value) => value / factor), attentionScaling: 1 };
    }
    case "llama3":
      return { inverseFrequencies: llama3(inverse, parameters, model), attentionScaling: 1 };
    case "yarn":
      return yarn(inverse, theta, parameters, model);
    default:
      return parameters.unsupported(typeName, `rotary embedding "${type}" is not supported`);
  }
}

/** The fields of a rotary embedding, wherever they stand, its base and its kind, under whatever name. */
export function ropeParameters(config: Fields) {
  // transformers lets rope_scaling win where both are given.
  const parameters = config.object("rope_scaling") ?? config.object("rope_parameters");
  for (const fields of [config, parameters]) {
    if (fields?.has("partial_rotary_factor") && fields.raw("partial_rotary_factor") !== 1) {
      fields.unsupported("partial_rotary_factor", "rotating a part of each head is not supported");
    }
  }
  const theta = parameters?.has("rope_theta")
    ? parameters.positive("rope_theta")
    : config.positive("rope_theta", 10_000);
  const typeName = parameters?.has("rope_type") ? "rope_type" : "type";
  return { parameters, theta, typeName, type: parameters?.text(typeName, "default") ?? "default" };
}

/** By what YaRN multiplies attention where nothing else is said. */
export function yarnMagnitude(factor: number, scale = 1): number {
  return factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
}

/** theta^(-2i / headDim), [headDim / 2] */
function inverseFrequencies(theta: number, headDim: number): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    return 1 / Math.fround(theta ** Math.fround((2 * i) / headDim));
  });
}

/** Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between are interpolated. */
function llama3(inverse: Float32Array, parameters: Fields, model: RopeModel): Float32Array {
  const factor = parameters.positive("factor");
  const low = parameters.positive("low_freq_factor");
  const high = parameters.positive("high_freq_factor");
  if (high <= low) parameters.refuse("high_freq_factor", "a number above low_freq_factor");
  const original = parameters.positive("original_max_position_embeddings", model.maxPositionEmbeddings);
  return inverse.map((value) => {
    const wavelength = Math.fround((2 * Math.PI) / value);
    if (wavelength < original / high) return value;
    if (wavelength > original / low) return value / factor;
    const smooth = Math.fround((original / wavelength - low) / (high - low));
    return ((1 - smooth) * value) / factor + smooth * value;
  });
}

/** YaRN: Peng et al. 2023, https://arxiv.org/abs/2309.00071, with the options of transformers. */
function yarn(inverse: Float32Array, theta: number, parameters: Fields, model: RopeModel): Rope {
  const { headDim } = model;
  const original = parameters.positive("original_max_position_embeddings", model.maxPositionEmbeddings);
  const factor = parameters.positive("factor", model.maxPositionEmbeddings / original);
  const fast = parameters.positive("beta_fast", 32);
  const slow = parameters.positive("beta_slow", 1);
  const correction = (rotations: number) =>
    (headDim * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  let low = correction(fast);
  let high = correction(slow);
  if (parameters.flag("truncate", true)) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, headDim - 1);
  if (low === high) high += 0.001;
  const scaled = inverse.map((value, i) => {
    const kept = 1 - Math.min(1, Math.max(0, (i - low) / (high - low)));
    return (value / factor) * (1 - kept) + value * kept;
  });
  return { inverseFrequencies: scaled, attentionScaling: yarnAttention(parameters, factor) };
}

function yarnAttention(parameters: Fields, factor: number): number {
  if (parameters.has("attention_factor")) return parameters.positive("attention_factor");
  const [over, under] = [parameters.raw("mscale"), parameters.raw("mscale_all_dim")];
  // As in transformers, both are needed and a zero counts as absent.
  if (!over || !under) return yarnMagnitude(factor);
  return (
    yarnMagnitude(factor, parameters.positive("mscale")) / yarnMagnitude(factor, parameters.positive("mscale_all_dim"))
  );
}
