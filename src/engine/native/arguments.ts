import { CodedError } from "../../errors/index.ts";
import type { OptimizerStep, Sampling } from "../engine.ts";

function refuse(message: string): never {
  throw new CodedError("ENGINE_ARGUMENT", message);
}

/** A finite number in [least, most]. */
export function checkNumber(name: string, value: unknown, least: number, most: number): void {
  if (typeof value !== "number" || !(value >= least && value <= most)) {
    refuse(`${name} is ${String(value)}, allowed is ${least} to ${most}`);
  }
}

export function checkInteger(name: string, value: unknown, least: number, most: number): void {
  if (!Number.isSafeInteger(value)) refuse(`${name} is ${String(value)}, not an integer`);
  checkNumber(name, value, least, most);
}

export function checkTokens(name: string, tokens: Int32Array, vocabSize: number): void {
  if (!(tokens instanceof Int32Array)) refuse(`${name} is not an Int32Array`);
  if (tokens.length === 0) refuse(`${name} is empty`);
  for (const [i, token] of tokens.entries()) {
    if (token < 0 || token >= vocabSize) refuse(`${name}[${i}] is ${token}, the vocabulary has ${vocabSize} tokens`);
  }
}

export function checkSampling(name: string, sampling: Sampling, vocabSize: number): void {
  // Below that a quotient of ordinary logits is no longer finite in float32.
  const coldest = 1e-5;
  if (sampling.temperature !== 0) checkNumber(`${name}.temperature`, sampling.temperature, coldest, 1e5);
  checkNumber(`${name}.topP`, sampling.topP, 0, 1);
  checkInteger(`${name}.topK`, sampling.topK, 0, Number.MAX_SAFE_INTEGER);
  checkNumber(`${name}.repetitionPenalty`, sampling.repetitionPenalty, 1e-3, 1e3);
  checkInteger(`${name}.seed`, sampling.seed, 0, Number.MAX_SAFE_INTEGER);
  checkInteger(`${name}.index`, sampling.index, 0, Number.MAX_SAFE_INTEGER);
  for (const token of sampling.forbidden ?? []) checkInteger(`${name}.forbidden`, token, 0, vocabSize - 1);
}

export function checkOptimizerStep(step: OptimizerStep): void {
  checkNumber("learningRate", step.learningRate, 0, 1e6);
  checkNumber("beta1", step.beta1, 0, 1 - 2 ** -24);
  checkNumber("beta2", step.beta2, 0, 1 - 2 ** -24);
  checkNumber("epsilon", step.epsilon, 0, 1);
  checkNumber("weightDecay", step.weightDecay, 0, 1e6);
  checkNumber("maxGradNorm", step.maxGradNorm, 0, Number.MAX_VALUE);
}
