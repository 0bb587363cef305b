import type { Sampling } from "./engine.ts";
import { philox4x32, split64, unitInterval } from "./philox.ts";

export interface Candidate {
  readonly token: number;
  readonly probability: number;
}

/** Below it a quotient of ordinary logits is not finite in float32; what is colder is greedy, which is its limit. */
const coldestTemperature = 1e-5;

/** The uniform number in [0, 1) of draw `index` under `seed`. */
export function drawUniform(seed: number, index: number): number {
  const [seedLow, seedHigh] = split64(seed);
  const [indexLow, indexHigh] = split64(index);
  return unitInterval(philox4x32([indexLow, indexHigh, 0, 0], seedLow, seedHigh)[0]);
}

/**
 * Draws the next token from the last position's logits [vocab], in the order of Hugging Face's processors. `history`
 * holds every token of the sequence so far. Twin of native/model/sampling.cpp: scores are rounded to float32 after each
 * processor and probabilities are float64 summed in the order of ids, so both choose the same token.
 * -1 when a score is infinite or not a number (weights or adapter overflow), or when every token is forbidden.
 */
export function sampleToken(logits: Float32Array, history: Iterable<number>, sampling: Sampling): number {
  const candidates = distribution(logits, history, sampling);
  if (candidates.length === 0) return -1;
  const u = drawUniform(sampling.seed, sampling.index);
  let cumulative = 0;
  for (const { token, probability } of candidates) {
    cumulative += probability;
    if (cumulative > u) return token;
  }
  // u is below 1 but the sum of rounded probabilities may end below u.
  return candidates.at(-1)!.token;
}

/** The tokens that can be drawn and their probabilities (sum 1), by ascending id. Greedy: one token. None: see sampleToken. */
export function distribution(logits: Float32Array, history: Iterable<number>, sampling: Sampling): Candidate[] {
  const scores = Float32Array.from(logits);
  penalizeRepetition(scores, history, sampling.repetitionPenalty);
  // One such score means that the layers overflowed: no token drawn from the others means anything.
  if (!scores.every(Number.isFinite)) return [];
  for (const token of sampling.forbidden ?? []) scores[token] = Number.NEGATIVE_INFINITY;
  if (scores.every((score) => score === Number.NEGATIVE_INFINITY)) return [];
  if (sampling.temperature < coldestTemperature) return [{ token: argmax(scores), probability: 1 }];
  const temperature = Math.fround(sampling.temperature);
  for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! / temperature;

  let kept = keepTopK(scores, sampling.topK);
  if (sampling.topP < 1) kept = keepTopP(scores, kept, sampling.topP);
  return softmax(scores, kept);
}

function penalizeRepetition(scores: Float32Array, history: Iterable<number>, penalty: number): void {
  if (penalty === 1) return;
  const p = Math.fround(penalty);
  for (const token of new Set(history)) {
    const score = scores[token]!;
    scores[token] = score > 0 ? score / p : score * p;
  }
}

/** Lowest id on exact ties. */
function argmax(scores: Float32Array): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
  return best;
}

/** Ids with a score of at least the k-th largest: ties at the threshold all stay. */
function keepTopK(scores: Float32Array, k: number): number[] {
  const threshold = k > 0 && k < scores.length ? scores.toSorted().at(-k)! : Number.NEGATIVE_INFINITY;
  const kept: number[] = [];
  for (let i = 0; i < scores.length; i++) {
    if (scores[i]! >= threshold && scores[i]! > Number.NEGATIVE_INFINITY) kept.push(i);
  }
  return kept;
}

/** Best first, lowest id first on ties, until their probability reaches p; at least one. Returned by ascending id. */
function keepTopP(scores: Float32Array, ids: number[], p: number): number[] {
  const probability = new Map(softmax(scores, ids).map((candidate) => [candidate.token, candidate.probability]));
  const kept: number[] = [];
  let before = 0;
  for (const id of ids.toSorted((a, b) => scores[b]! - scores[a]! || a - b)) {
    if (kept.length > 0 && before >= p) break;
    kept.push(id);
    before += probability.get(id)!;
  }
  return kept.sort((a, b) => a - b);
}

function softmax(scores: Float32Array, ids: number[]): Candidate[] {
  let maximum = Number.NEGATIVE_INFINITY;
  for (const id of ids) maximum = Math.max(maximum, scores[id]!);
  const weights = ids.map((id) => Math.exp(scores[id]! - maximum));
  let total = 0;
  for (const weight of weights) total += weight;
  return ids.map((token, i) => ({ token, probability: weights[i]! / total }));
}
