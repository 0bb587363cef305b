import type { LinearName, LlamaConfig } from "./config.ts";

/**
 * One interface over "a LLaMA on a device". Everything is asynchronous: no call keeps the event loop waiting for a
 * matrix. Implemented by src/engine/native (C++) and src/engine/tensorflow (TensorFlow.js).
 * Calls on one model are executed in the order they were made.
 */
export interface Engine {
  readonly name: "native" | "tensorflow";
  /** What was chosen, for logs: "cpu (avx2, 1 thread)", "tensorflow wasm". */
  readonly description: string;
  load(weights: ModelWeights, options?: LoadOptions): Promise<EngineModel>;
}

export type WeightType = "F32" | "F16" | "BF16";

/** GGUF's block-quantised types by their names there: whole blocks of a row share a scale. */
export type BlockType = "Q4_0" | "Q4_1" | "Q5_0" | "Q5_1" | "Q8_0" | "Q2_K" | "Q3_K" | "Q4_K" | "Q5_K" | "Q6_K";

/** What a tensor in a file may be made of. Blocks become float32 while an engine loads them, which is exact but for one rounding. */
export type StoredType = WeightType | BlockType;

/** Where a tensor's bytes lie: little-endian, row-major, contiguous. Header already validated against the file size. */
export interface TensorSource {
  readonly file: string;
  /** Byte offset of the first element in the file. */
  readonly offset: number;
  readonly dtype: StoredType;
  readonly shape: readonly number[];
  /**
   * The rows are a query's or key's projection in Meta's order: within each of so many heads, pairs (2i, 2i + 1) turn
   * together. undefined: Hugging Face's order, pairs (i, i + headDim / 2). Engines turn either into what they need.
   */
  readonly interleavedHeads?: number | undefined;
}

/** A checkpoint: tensors by Hugging Face name ("model.layers.0.self_attn.q_proj.weight", ...). Shapes agree with config. */
export interface ModelWeights {
  readonly config: LlamaConfig;
  readonly tensors: ReadonlyMap<string, TensorSource>;
}

export interface LoadOptions {
  /** 0..1 */
  onProgress?: (fraction: number) => void;
  signal?: AbortSignal;
}

export interface EngineModel {
  readonly config: LlamaConfig;
  /** Bytes held by the weights. */
  readonly weightBytes: number;
  /** Room for keys and values of all sequences together, tokens; each takes a multiple of `page`. */
  readonly cache: { readonly tokens: number; readonly page: number };
  createAdapter(modules: readonly AdapterModule[]): Promise<EngineAdapter>;
  /**
   * A key/value cache for up to `capacity` tokens, read with `adapter` (unmerged) where given. All of its memory is its own
   * from the start. Throws OUT_OF_MEMORY where it does not fit beside the others.
   */
  createSequence(options: { capacity: number; adapter?: EngineAdapter | null }): Promise<EngineSequence>;
  /**
   * One pass over all requests together (continuous batching). Results are in request order; a request that fails says so
   * in its own. Rejects where the step as a whole is not possible: the model is closed, the device has failed.
   */
  step(requests: readonly StepRequest[]): Promise<StepResult[]>;
  /** Logits of every position, [tokens * vocabSize], float32, without a cache. For checks and evaluation. */
  logits(tokens: Int32Array, adapter?: EngineAdapter | null): Promise<Float32Array>;
  createTrainer(adapter: EngineAdapter, options?: TrainerOptions): Promise<EngineTrainer>;
  /** Frees everything made from this model. */
  close(): Promise<void>;
}

/** A low-rank pair on one linear: y += scale * (x Aᵀ) Bᵀ. */
export interface AdapterModule {
  readonly layer: number;
  readonly linear: LinearName;
  readonly rank: number;
  /** alpha / r, or alpha / sqrt(r) with rsLoRA. */
  readonly scale: number;
  /** [rank, in], row-major. */
  readonly a: Float32Array;
  /** [out, rank], row-major. */
  readonly b: Float32Array;
}

export interface EngineAdapter {
  /** Copies of the current tensors, in the order given to createAdapter. */
  read(): Promise<AdapterModule[]>;
  close(): Promise<void>;
}

export interface EngineSequence {
  /** Tokens in the cache. */
  readonly length: number;
  readonly capacity: number;
  /** Forgets all tokens from `length` on. */
  truncate(length: number): void;
  close(): void;
}

export interface StepRequest {
  readonly sequence: EngineSequence;
  /** At least one token, appended to the sequence. */
  readonly tokens: Int32Array;
  /** Draw the next token from the last position's logits; null: only fill the cache. */
  readonly sampling: Sampling | null;
  /**
   * Given where the drawn token, unless it is one of these, will be the next step's only one, drawn from with the same
   * settings and the next index: the engine may compute that step before it is asked for. Nothing depends on it being asked
   * for.
   */
  readonly continuesUnless?: Int32Array | undefined;
}

export interface StepResult {
  /** The drawn token (not yet appended). -1 where sampling was null, and where the request failed. */
  readonly token: number;
  /**
   * Why the request failed: ENGINE_ARGUMENT, or LOGITS_NOT_FINITE where the weights or the adapter overflow. None of its
   * tokens are appended, and all others are served as if it had not been there.
   */
  readonly error?: Error | undefined;
}

/**
 * Hugging Face's processor order: repetition penalty (over every distinct token of the sequence so far), temperature,
 * top-k (ties kept), top-p. A temperature below 1e-5 is greedy (lowest id on exact ties). The draw is
 * u = philox4x32(key = seed, counter = index) -> [0, 1), so that it does not depend on batching. Limits: samplingLimits.
 */
export interface Sampling {
  readonly temperature: number;
  /** 1 is off. */
  readonly topP: number;
  /** 0 is off. */
  readonly topK: number;
  /** 1 is off. */
  readonly repetitionPenalty: number;
  /** 64-bit, from JavaScript a safe integer >= 0. */
  readonly seed: number;
  /** Number of the draw within its sequence. */
  readonly index: number;
  /** Tokens that must not be drawn (min_new_tokens forbids EOS). */
  readonly forbidden?: readonly number[];
}

/** Rows packed one after another; attention is causal and does not cross a row's border; positions restart at 0. */
export interface PackedBatch {
  /** [tokens] */
  readonly tokens: Int32Array;
  /** [tokens]: the token to be predicted at this position (already shifted by one), or -100 for none. */
  readonly targets: Int32Array;
  /** [rows + 1]: row i is tokens[offsets[i] .. offsets[i + 1]). offsets[0] = 0, last = tokens.length. */
  readonly offsets: Int32Array;
}

/** Dropout on the adapter's input, one independent mask per adapted module, drawn from (seed, step, module, element). */
export interface Dropout {
  readonly probability: number;
  readonly seed: number;
  /** A counter that differs for every micro-batch of the run. */
  readonly step: number;
}

export interface LossSum {
  /** Sum of cross-entropy over positions with a target, nats. */
  readonly loss: number;
  /** Number of positions with a target. */
  readonly targets: number;
}

/** AdamW with decoupled weight decay (Loshchilov and Hutter 2019), bias-corrected, global-norm clipping before it. */
export interface OptimizerStep {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Gradients are scaled by min(1, maxGradNorm / (norm + 1e-6)); 0 is off. */
  readonly maxGradNorm: number;
}

/** What an update remembers of the steps before it. A and B are in the adapter's module order, shaped as its tensors. */
export interface OptimizerState {
  /** Updates so far: the bias correction counts them. */
  readonly steps: number;
  /** AdamW's moments, float32. */
  readonly first: readonly MatrixPair[];
  readonly second: readonly MatrixPair[];
  /** What losses are multiplied by where activations are float16; value 1 and 0 steps elsewhere. */
  readonly lossScale: { readonly value: number; readonly steadySteps: number };
}

export type MatrixPair = Pick<AdapterModule, "a" | "b">;

/** What a training run will take of the device's memory, bytes. */
export interface MemoryPlan {
  /** Held already. */
  readonly weights: number;
  readonly adapter: number;
  /** Gradients and AdamW's two moments. */
  readonly optimizer: number;
  /** Of a micro-batch. */
  readonly activations: number;
  /** Of the loss, products and attention. */
  readonly workspace: number;
  /** For what is not held yet. */
  readonly available: number;
  /** Layers whose activations are computed again instead of kept. */
  readonly checkpointedLayers: number;
  readonly layers: number;
}

/** This process among those that train one adapter together, each on its share of the rows. */
export interface Ranks {
  /** 0 .. size - 1 */
  readonly rank: number;
  readonly size: number;
  /** Among the ranks of this machine: it says which GPU is this one's. */
  readonly localRank: number;
  /** How they reach each other; null for one rank. */
  readonly link: RankLink | null;
  /** How long one of them may keep another waiting. */
  readonly timeoutSeconds: number;
}

/** Through MPI, which their launcher has set up, or by TCP to where rank 0 listens. */
export type RankLink =
  | { readonly kind: "mpi" }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

export interface TrainerOptions {
  /** The trainer is made when all of them have met. Default: this process alone. */
  readonly ranks?: Ranks;
  /** A digest (64 hexadecimal digits) that must be the same on all ranks. */
  readonly agreement?: string;
  /** Ends every wait for another rank. */
  readonly signal?: AbortSignal;
}

export interface EngineTrainer {
  /**
   * Forward and backward; adds `gradientScale` * d(sum of losses)/d(adapter) to the gradients. gradientScale is
   * 1 / (targets of the whole optimiser step), which makes the step's loss the token mean.
   */
  accumulate(batch: PackedBatch, gradientScale: number, dropout?: Dropout | null): Promise<LossSum>;
  /** Forward only, without dropout. */
  evaluate(batch: PackedBatch): Promise<LossSum>;
  /** Applies the accumulated gradients, summed over the ranks, and sets them to zero. gradNorm is before clipping. */
  update(step: OptimizerStep): Promise<{ gradNorm: number }>;
  /** What micro-batches of so many tokens will take; null where the engine cannot tell. Throws OUT_OF_MEMORY. */
  plan?(tokens: number, dropout: boolean): Promise<MemoryPlan | null>;
  /** Copies of the accumulated gradients, in the adapter's module order. */
  gradients(): Promise<MatrixPair[]>;
  /** Between two steps: what a new trainer of the same adapter goes on from, bit for bit. */
  optimizerState(): Promise<OptimizerState>;
  /** Before the first step. Throws ENGINE_ARGUMENT naming what does not fit the adapter. */
  restoreOptimizer(state: OptimizerState): Promise<void>;
  /** Frees what only steps need; a further step takes it anew. */
  releaseActivations(): Promise<void>;
  /** Each value summed over the ranks, the same on all of them. */
  sum(values: Float64Array): Promise<Float64Array>;
  /** Waits until all ranks are here; after it one may close without the others taking it for lost. */
  finish(): Promise<void>;
  close(): Promise<void>;
}
