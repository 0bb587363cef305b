import { CodedError } from "../../errors/index.ts";
import { checkInteger, checkNumber, checkTokens, refuse } from "../arguments.ts";
import { type LlamaConfig, linearNames, linearShape } from "../config.ts";
import type { AdapterModule, Dropout, OptimizerStep, PackedBatch } from "../engine.ts";

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
