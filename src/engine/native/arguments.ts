import { CodedError } from "../../errors/index.ts";
import { type LlamaConfig, linearNames, linearShape } from "../config.ts";
import type { AdapterModule, Dropout, OptimizerStep, PackedBatch, Sampling } from "../engine.ts";

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

/** Throws ADAPTER_MISMATCH where the model has no such place or another shape. */
export function checkModule(module: AdapterModule, config: LlamaConfig): void {
  const name = `adapter module layer ${module.layer} ${module.linear}`;
  const mismatch = (what: string): never => {
    throw new CodedError("ADAPTER_MISMATCH", `${name}: ${what}`);
  };
  if (!linearNames.includes(module.linear)) mismatch("there is no such linear");
  if (!Number.isInteger(module.layer) || module.layer < 0 || module.layer >= config.layers) {
    mismatch(`the model has ${config.layers} layers`);
  }
  checkInteger(`${name} rank`, module.rank, 1, 4096);
  checkNumber(`${name} scale`, module.scale, -1e6, 1e6);
  const [out, input] = linearShape(config, module.linear);
  for (const [tensor, values, length] of [
    ["A", module.a, module.rank * input],
    ["B", module.b, out * module.rank],
  ] as const) {
    if (!(values instanceof Float32Array)) refuse(`${name} ${tensor} is not a Float32Array`);
    if (values.length !== length) mismatch(`${tensor} has ${values.length} elements, the model needs ${length}`);
  }
}

export function checkBatch({ tokens, targets, offsets }: PackedBatch, config: LlamaConfig): void {
  checkTokens("batch.tokens", tokens, config.vocabSize);
  if (!(targets instanceof Int32Array) || targets.length !== tokens.length) {
    refuse(`batch.targets is not an Int32Array of ${tokens.length} elements`);
  }
  for (const [i, target] of targets.entries()) {
    if (target !== -100 && (target < 0 || target >= config.vocabSize)) {
      refuse(`batch.targets[${i}] is ${target}, neither -100 nor in the vocabulary of ${config.vocabSize} tokens`);
    }
  }
  if (!(offsets instanceof Int32Array) || offsets[0] !== 0 || offsets.at(-1) !== tokens.length) {
    refuse(`batch.offsets is not an Int32Array from 0 to ${tokens.length}`);
  }
  for (let row = 0; row + 1 < offsets.length; row++) {
    const length = offsets[row + 1]! - offsets[row]!;
    if (length < 0) refuse(`batch.offsets decrease at ${row + 1}`);
    if (length > config.maxPositionEmbeddings) {
      refuse(`batch row ${row} has ${length} tokens, the model has ${config.maxPositionEmbeddings} positions`);
    }
  }
}

export function checkDropout(dropout: Dropout): void {
  checkNumber("dropout.probability", dropout.probability, 0, 0.999);
  checkInteger("dropout.seed", dropout.seed, 0, Number.MAX_SAFE_INTEGER);
  checkInteger("dropout.step", dropout.step, 0, 2 ** 32 - 1);
}

export function checkOptimizerStep(step: OptimizerStep): void {
  checkNumber("learningRate", step.learningRate, 0, 1e6);
  checkNumber("beta1", step.beta1, 0, 1 - 2 ** -24);
  checkNumber("beta2", step.beta2, 0, 1 - 2 ** -24);
  checkNumber("epsilon", step.epsilon, 0, 1);
  checkNumber("weightDecay", step.weightDecay, 0, 1e6);
  checkNumber("maxGradNorm", step.maxGradNorm, 0, Number.MAX_VALUE);
}
