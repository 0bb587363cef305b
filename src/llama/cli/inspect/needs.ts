import { type LlamaConfig, linearNames, linearShape } from "../../../engine/config.ts";
import type { StoredType } from "../../../engine/engine.ts";
import { isBlockType } from "../../../engine/tensors/stored-types.ts";
import { expectedTensors } from "../../checkpoint/tensors.ts";
import type { NeedsReport } from "./report.ts";

const quantizations = ["none", "int8", "int4", "nf4"] as const;
/** native/kernels/quantization.h */
const weightsPerScale = 64;
/** alpaca-lora's defaults. */
const trained = { rank: 8, linears: ["q_proj", "v_proj"] as const, rows: 4, tokens: 256 };
const half = 2;

/**
 * What a model takes of a device's memory, before its workspace: weights with the linears of layers quantised as the
 * engine does it (int8: a scale for each row; int4, nf4: one for 64 weights), keys and values, and for training the
 * activations that the backward pass needs, [tokens, ...] of 16 bits.
 * @param stored type of most weights in the files
 */
export function needsOf(config: LlamaConfig, stored: StoredType): NeedsReport {
  const { layers, kvHeads, headDim, maxPositionEmbeddings } = config;
  // Blocks become 16-bit numbers on a GPU.
  const width = isBlockType(stored) || stored !== "F32" ? half : 4;
  const linears = linearNames.map((name) => linearShape(config, name));
  const inLayers = layers * linears.reduce((sum, [out, input]) => sum + out * input, 0);
  let all = 0;
  for (const [, shape] of expectedTensors(config)) all += shape.reduce((product, size) => product * size, 1);
  const rows = layers * linears.reduce((sum, [out]) => sum + out, 0);
  const quantized = {
    none: inLayers * width,
    int8: inLayers + 4 * rows,
    int4: inLayers / 2 + (4 * inLayers) / weightsPerScale,
    nf4: inLayers / 2 + (4 * inLayers) / weightsPerScale,
  };
  const cachePerToken = 2 * layers * kvHeads * headDim * half;
  const cacheOfContext = cachePerToken * maxPositionEmbeddings;
  const states = statesOf(config);
  const tokens = trained.rows * Math.min(trained.tokens, maxPositionEmbeddings);
  return {
    cachePerToken,
    cacheOfContext,
    byQuantization: quantizations.map((quantization) => {
      const weights = quantized[quantization] + (all - inLayers) * width;
      return {
        quantization,
        weights,
        serve: weights + cacheOfContext,
        train: weights + states + tokens * activations(config) * layers,
        trainCheckpointed: weights + states + tokens * (half * config.hiddenSize * layers + activations(config)),
      };
    }),
  };
}

/** Weight, gradient and two moments of the adapter, float32. */
function statesOf(config: LlamaConfig): number {
  const numbers = trained.linears.map((name) => {
    const [out, input] = linearShape(config, name);
    return trained.rank * (out + input);
  });
  return 16 * config.layers * numbers.reduce((sum, count) => sum + count, 0);
}

/** Of a token in a layer: its input, that normed, the sum in the middle; q and attention's output; k and v; gate and up. */
function activations({ hiddenSize, heads, kvHeads, headDim, intermediateSize }: LlamaConfig): number {
  return half * (3 * hiddenSize + 2 * heads * headDim + 2 * kvHeads * headDim + 2 * intermediateSize);
}
