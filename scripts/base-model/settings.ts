import { resolve } from "node:path";
import type { LlamaConfig } from "../../src/engine/config.ts";

/** Where the embedded base lies; the environment variable is for trial runs. */
export const weightsFolder = resolve(process.env.BASE_MODEL_FOLDER ?? "weights/tiny");

const headDim = 32;
export const ropeTheta = 10_000;

/** 1.9 million parameters, 3.8 MB in bf16: the whole of weights/tiny/ stays under 6 MB. */
const model: LlamaConfig = {
  vocabSize: 1600,
  hiddenSize: 192,
  intermediateSize: 512,
  layers: 4,
  heads: 6,
  kvHeads: 3,
  headDim,
  rmsNormEps: 1e-5,
  maxPositionEmbeddings: 512,
  slidingWindow: null,
  tiedHead: true,
  attentionBias: false,
  queryKeyNorm: false,
  rope: {
    inverseFrequencies: Float32Array.from({ length: headDim / 2 }, (_, i) => ropeTheta ** ((-2 * i) / headDim)),
    attentionScaling: 1,
  },
};

/** All choices of the run. */
export const settings = {
  seed: 20240,
  model,
  tokenizerRows: 20_000,
  /** Training texts, each seen once. */
  rows: 48_000,
  /** Small: with few tokens to spend, many steps learn more than smooth ones. */
  tokensPerBatch: 512,
  /** Rows sorted by length together. */
  pool: 4096,
  learningRate: 2e-3,
  optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.05, maxGradNorm: 1 },
  /** Steps between lines of the log, and between checkpoints. */
  logEvery: 50,
  saveEvery: 400,
} as const;
