import { CodedError } from "../errors/index.ts";
import type { Sampling } from "./engine.ts";

/** What a request may ask for, inclusive. predict.ts publishes the same numbers, so that no engine meets others. */
export const samplingLimits = {
  /** Below 1e-5 it is greedy. */
  temperature: { ge: 0, le: 5 },
  topP: { ge: 0, le: 1 },
  topK: { ge: 0, le: Number.MAX_SAFE_INTEGER },
  repetitionPenalty: { ge: 0.01, le: 5 },
  seed: { ge: 0, le: Number.MAX_SAFE_INTEGER },
} as const;

/** Throws ENGINE_ARGUMENT. */
export function refuse(message: string): never {
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
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    if (token < 0 || token >= vocabSize) refuse(`${name}[${i}] is ${token}, the vocabulary has ${vocabSize} tokens`);
  }
}

export function checkSampling(name: string, sampling: Sampling, vocabSize: number): void {
  const { temperature, topP, topK, repetitionPenalty, seed } = samplingLimits;
  checkNumber(`${name}.temperature`, sampling.temperature, temperature.ge, temperature.le);
  checkNumber(`${name}.topP`, sampling.topP, topP.ge, topP.le);
  checkInteger(`${name}.topK`, sampling.topK, topK.ge, topK.le);
  const penalty = sampling.repetitionPenalty;
  checkNumber(`${name}.repetitionPenalty`, penalty, repetitionPenalty.ge, repetitionPenalty.le);
  checkInteger(`${name}.seed`, sampling.seed, seed.ge, seed.le);
  checkInteger(`${name}.index`, sampling.index, 0, Number.MAX_SAFE_INTEGER);
  const { forbidden = [] } = sampling;
  if (!Array.isArray(forbidden)) refuse(`${name}.forbidden is not an array`);
  for (const token of forbidden) checkInteger(`${name}.forbidden`, token, 0, vocabSize - 1);
  if (forbidden.length >= vocabSize && new Set(forbidden).size === vocabSize) {
    refuse(`${name}.forbidden leaves no token to draw`);
  }
}
