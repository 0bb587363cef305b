import { createRequire } from "node:module";
import { dirname } from "node:path";
import { CodedError } from "../../errors/index.ts";
import type { Dropout, LossSum, MemoryPlan, OptimizerState, OptimizerStep, Sampling } from "../engine.ts";
import { builtAddon } from "./built.ts";

/** The JavaScript face of native/addon: promises, plain arrays, integers for names. It checks what it is given. */
export interface Addon {
  /** Best first: "avx512", "avx2", "reference". */
  instructionSets(): string[];
  /** What the GPU module in `file` finds; `problem` says why there is no card. */
  gpus(file: string): { readonly cards: readonly GpuCard[]; readonly problem: string | null };
  load(options: AddonLoadOptions, onProgress?: (fraction: number) => void): Promise<AddonModel>;
}

export interface GpuCard {
  readonly index: number;
  readonly name: string;
  /** Compute capability: 89 is 8.9. */
  readonly capability: number;
  /** Bytes. */
  readonly memory: number;
  readonly available: number;
}

export interface GpuOptions {
  readonly card: number;
  /** Of activations: "" (as the weights), "float32", "bfloat16", "float16". */
  readonly dtype: string;
  /** Of the layers' linears: "none", "int8", "int4", "nf4". */
  readonly quantization: string;
}

export interface AddonLoadOptions {
  readonly config: object;
  readonly tensors: readonly object[];
  readonly threads: number;
  readonly isa: string;
  /** Layers whose activations training computes again instead of keeping them; -1: as many as memory asks for. */
  readonly checkpointedLayers: number;
  /** At most for keys and values of all sequences; 0: a share of what the loaded weights leave. */
  readonly cacheBytes: number;
  /** The GPU module's file; "" for the CPU. */
  readonly gpuModule: string;
  readonly gpu: GpuOptions | null;
  /** Loading stops soon after element 0 is no longer 0. */
  readonly cancelled: Int32Array;
}

export interface AddonModel {
  readonly weightBytes: number;
  readonly cacheTokens: number;
  readonly cachePageTokens: number;
  /** "avx2", "cuda bf16", ... */
  readonly kernels: string;
  createAdapter(modules: readonly AddonModule[]): Promise<AddonAdapter>;
  createSequence(capacity: number, adapter: AddonAdapter | null): Promise<AddonSequence>;
  step(
    sequences: readonly AddonSequence[],
    positions: readonly number[],
    tokens: readonly Int32Array[],
    samplings: readonly (Sampling | null)[],
    /** continuesUnless of each request. */
    endings: readonly (Int32Array | null)[],
  ): Promise<AddonStep>;
  logits(tokens: Int32Array, adapter: AddonAdapter | null): Promise<Float32Array>;
  createTrainer(adapter: AddonAdapter, group: AddonGroup | null): Promise<AddonTrainer>;
  close(): Promise<void>;
}

export interface AddonStep {
  /** Of each request, -1 where none was drawn. */
  readonly tokens: Int32Array;
  /** By request, holes where it did not fail. */
  readonly failures: readonly (Error | undefined)[];
}

export interface AddonModule {
  readonly layer: number;
  /** Index in linearNames. */
  readonly linear: number;
  readonly rank: number;
  readonly scale: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
}

export interface AddonGroup {
  readonly rank: number;
  readonly size: number;
  /** Where rank 0 listens; unused with MPI. */
  readonly host: string;
  readonly port: number;
  /** The module that talks to MPI; empty: TCP. */
  readonly mpiModule: string;
  readonly timeoutSeconds: number;
  readonly agreement: string;
  /** Waits end soon after element 0 is no longer 0. */
  readonly cancelled: Int32Array;
}

export interface AddonAdapter {
  read(): Promise<{ a: Float32Array; b: Float32Array }[]>;
  close(): void;
}

export interface AddonSequence {
  close(): void;
}

export interface AddonTrainer {
  accumulate(
    tokens: Int32Array,
    targets: Int32Array,
    offsets: Int32Array,
    gradientScale: number,
    dropout: Dropout | null,
  ): Promise<LossSum>;
  evaluate(tokens: Int32Array, targets: Int32Array, offsets: Int32Array): Promise<LossSum>;
  /** The gradients' norm before clipping. */
  update(step: OptimizerStep): Promise<number>;
  gradients(): Promise<{ a: Float32Array; b: Float32Array }[]>;
  optimizerState(): Promise<OptimizerState>;
  restoreOptimizer(state: OptimizerState): Promise<void>;
  plan(tokens: number, dropout: boolean): Promise<MemoryPlan>;
  releaseActivations(): Promise<void>;
  sum(values: Float64Array): Promise<Float64Array>;
  finish(): Promise<void>;
  close(): void;
}

/**
 * The native engine, built first where that has not been done.
 * @throws CodedError ENGINE_UNAVAILABLE with the reason and what helps
 */
export async function openAddon(): Promise<Addon> {
  const file = await builtAddon();
  try {
    return createRequire(import.meta.url)(file) as Addon;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError("ENGINE_UNAVAILABLE", `the native engine cannot be loaded: ${reason}`, {
      hint: `remove ${dirname(file)}; it is built again when it is next needed`,
      cause,
    });
  }
}
