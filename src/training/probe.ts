import type { EngineAdapter, EngineModel } from "../engine/engine.ts";
import { sliced } from "../llama/time-slices.ts";
import { type Example, learntOf, tailOf } from "./examples.ts";

const mostRows = 8;
/** Of a row its end: scores of a whole context would take gigabytes. */
const mostTokens = 256;

/** Some rows, evenly many apart, that are cheap to score. */
export function probeOf(examples: readonly Example[]): Example[] {
  const count = Math.min(mostRows, examples.length);
  return Array.from({ length: count }, (_, i) => {
    const example = examples[Math.floor((i * examples.length) / count)]!;
    return tailOf(example, example.tokens.length - mostTokens);
  });
}

/** Mean over the rows' learnt tokens, nats, as served: through the model's scores. NaN where one is not finite. */
export async function lossOf(
  rows: readonly Example[],
  model: EngineModel,
  adapter: EngineAdapter | null,
  signal?: AbortSignal,
): Promise<number> {
  const { vocabSize } = model.config;
  const pause = sliced(signal);
  let [loss, targets] = [0, 0];
  for (const row of rows) {
    const logits = await model.logits(row.tokens, adapter);
    const learnt = learntOf(row);
    for (let position = 0; position < row.tokens.length; position++) {
      const scores = logits.subarray(position * vocabSize, (position + 1) * vocabSize);
      const spread = logSumExp(scores);
      if (!Number.isFinite(spread)) return Number.NaN;
      const next = position + 1;
      if (learnt[next]) loss += spread - scores[row.tokens[next]!]!;
      await pause();
    }
    targets += row.targets;
  }
  return loss / targets;
}

/** NaN or infinite where one of the scores is. */
function logSumExp(scores: Float32Array): number {
  let [most, sum] = [Number.NEGATIVE_INFINITY, 0];
  for (const score of scores) {
    if (!Number.isFinite(score)) return Number.NaN;
    if (score > most) most = score;
  }
  for (const score of scores) sum += Math.exp(score - most);
  return most + Math.log(sum);
}
