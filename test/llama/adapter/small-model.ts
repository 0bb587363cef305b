import type { LinearName, LlamaConfig } from "../../../src/engine/config.ts";
import { linearShape } from "../../../src/engine/config.ts";
import type { AdapterModule } from "../../../src/engine/engine.ts";

/** A shape with grouped heads and no two equal sizes, so that nothing swapped goes unnoticed. */
export const smallModel: LlamaConfig = {
  vocabSize: 40,
  hiddenSize: 12,
  intermediateSize: 20,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 4,
  rmsNormEps: 1e-5,
  maxPositionEmbeddings: 64,
  slidingWindow: null,
  tiedHead: true,
  attentionBias: false,
  queryKeyNorm: false,
  rope: { inverseFrequencies: Float32Array.of(1, 0.01), attentionScaling: 1 },
};

export function modulesOf(model: LlamaConfig, linears: readonly LinearName[], rank: number, alpha: number) {
  let n = 0;
  const fill = (length: number) => Float32Array.from({ length }, () => Math.sin(n++));
  return Array.from({ length: model.layers }, (_, layer) =>
    linears.map((linear): AdapterModule => {
      const [out, input] = linearShape(model, linear);
      return { layer, linear, rank, scale: alpha / rank, a: fill(rank * input), b: fill(out * rank) };
    }),
  ).flat();
}
