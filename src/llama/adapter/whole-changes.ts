import type { TensorSource } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import type { embedding, head } from "./tensor-name.ts";

/** A low-rank pair on the head or the embedding: W += scale * B A, both [vocabulary, hidden]. */
export interface OuterPair {
  readonly path: typeof head | typeof embedding;
  readonly rank: number;
  readonly scale: number;
  /** [rank, hidden] */
  readonly a: Float32Array;
  /** [vocabulary, rank] */
  readonly b: Float32Array;
}

/** What an adapter changes beside pairs on the linears of layers: an engine has it in its weights or not at all. */
export interface WholeChanges {
  /** DoRA's magnitudes, [out], by the linear's path. */
  readonly magnitudes: ReadonlyMap<string, Float32Array>;
  /** What is added to the bias of a linear, [out], by its path. */
  readonly biases: ReadonlyMap<string, Float32Array>;
  readonly outer: readonly OuterPair[];
  /** Weights and biases instead of the base's, by their names there ("model.embed_tokens.weight"). */
  readonly replaced: ReadonlyMap<string, TensorSource>;
  /** Rows of the embedding or the head instead of the base's, by the weight's name. */
  readonly tokens: ReadonlyMap<string, TokenRows>;
}

/** Rows by the ids of their tokens, [hidden] each. */
export type TokenRows = ReadonlyMap<number, Float32Array>;

/** The features of it, in words; none where an engine can take the adapter beside the base. */
export function featuresOf({ magnitudes, biases, outer, replaced, tokens }: WholeChanges): string[] {
  return [
    ...(magnitudes.size > 0 ? ["DoRA (use_dora)"] : []),
    ...(biases.size > 0 ? ["biases of its own (lora_bias)"] : []),
    ...outer.map(({ path }) => `a pair on ${path}`),
    ...[...tokens.keys()].map((name) => `trained tokens of ${name}`),
    ...[...replaced.keys()].slice(0, 2).map((name) => `a trained ${name}`),
    ...(replaced.size > 2 ? [`${replaced.size - 2} more trained weights`] : []),
  ];
}

/** @throws ADAPTER_UNSUPPORTED naming what cannot be kept beside the base's weights, and the way out */
export function refuseWholeChanges(whole: WholeChanges, name: string): void {
  const features = featuresOf(whole);
  if (features.length === 0) return;
  throw new CodedError(
    "ADAPTER_UNSUPPORTED",
    `${name}: has ${features.join(", ")}, and so changes the model's own weights`,
    {
      hint: "Serve it with COG_WEIGHTS, or merge it into its base: llama-lora merge BASE ADAPTER -o FOLDER.",
    },
  );
}
