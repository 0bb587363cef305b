import type { EngineTrainer, MemoryPlan, Ranks } from "../../engine/engine.ts";
import { shareOf } from "../distributed/share.ts";
import { isEvaluated } from "../evaluation.ts";
import { type Example, tokensOf } from "../examples.ts";
import { packExamples } from "../packing.ts";
import type { Plan } from "../plan.ts";
import { bytesText, secondsText } from "./units.ts";

/** What a run will take. */
export interface Estimate {
  /** From the first step to the last evaluation; null for a run that is over before a probe would be worth it. */
  readonly seconds: number | null;
  /** Of this process (CPU) or of the device (GPU), at most, bytes; null where the engine cannot tell. */
  readonly bytes: number | null;
}

export interface Estimated {
  readonly plan: Plan;
  readonly training: readonly Example[];
  readonly validation: readonly Example[];
  readonly ranks: Ranks;
  /** Nothing of it is kept: it is closed before the run's own is made. */
  readonly trainer: EngineTrainer;
  readonly memory: MemoryPlan | null;
  /** Whether the weights lie in this process's memory. */
  readonly isOnCpu: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** A probe takes at most this share of the run that it foretells. */
const probedShare = 0.02;
/** Tokens of the first probe. */
const fewTokens = 128;
/** Runs that are shorter are foretold from the first probe. */
const shortSeconds = 5;
/** Times a probe is repeated where it takes little: the first of a size has memory to take. */
const mostProbes = 4;
/** Nobody waits longer for the first step of however long a run. */
const mostSeconds = 2;

/**
 * Time and memory of a run, from micro-batches that go through the model without an update. Throws the signal's reason,
 * OUT_OF_MEMORY.
 */
export async function estimateRun(of: Estimated): Promise<Estimate> {
  const { plan, training, validation, ranks, trainer } = of;
  const { settings, steps } = plan;
  // Before the probes, which take some of what the run will.
  const bytes = bytesOf(of);
  const capacity = settings.micro_batch_size * settings.cutoff_len;
  const mine = shareOf(training, ranks);
  const tokens = tokensOf(mine) * (steps / plan.stepsPerEpoch);
  const evaluations = validation.length === 0 ? 0 : evaluationsOf(plan);
  const validated = tokensOf(shareOf(validation, ranks)) * evaluations;

  const probed = 2 * batchOf(mine, fewTokens).tokens.length;
  if (probed > tokens * probedShare) return { seconds: null, bytes };
  // The first of all pays for what is only made once.
  await probe(mine, fewTokens, of);
  const first = await probe(mine, fewTokens, of);
  let perToken = first.seconds / first.tokens;
  const budget = Math.min(mostSeconds, probedShare * perToken * tokens);
  if (perToken * tokens > shortSeconds) {
    const size = Math.min(capacity, Math.max(fewTokens, Math.floor(budget / 2 / perToken)));
    let spent = 0;
    for (let i = 0; i < mostProbes && (i === 0 || spent * (1 + 1 / i) < budget); i++) {
      const { seconds, tokens: some } = await probe(mine, size, of);
      spent += seconds;
      perToken = i === 0 ? seconds / some : Math.min(perToken, seconds / some);
    }
  }
  const perValidated = evaluations === 0 ? 0 : await evaluated(mine, trainer, Math.min(capacity, 2 * fewTokens), of);
  return { seconds: perToken * tokens + perValidated * validated, bytes };
}

/** "about 12 min, 1.3 GB of memory at most"; null where nothing is known */
export function estimateText({ seconds, bytes }: Estimate): string | null {
  const parts = [
    ...(seconds === null ? [] : [`about ${secondsText(seconds)}`]),
    ...(bytes === null ? [] : [`${bytesText(bytes)} of memory at most`]),
  ];
  return parts.length === 0 ? null : parts.join(", ");
}

async function probe(examples: readonly Example[], most: number, { trainer, plan, signal }: Estimated) {
  signal?.throwIfAborted();
  const { lora_dropout: probability, seed } = plan.settings;
  const batch = batchOf(examples, most);
  const start = performance.now();
  // Of the gradients nothing is left: they are multiplied by zero, and the trainer is closed.
  await trainer.accumulate(batch, 0, probability > 0 ? { probability, seed, step: 0 } : null);
  return { seconds: (performance.now() - start) / 1000, tokens: batch.tokens.length };
}

async function evaluated(examples: readonly Example[], trainer: EngineTrainer, most: number, { signal }: Estimated) {
  signal?.throwIfAborted();
  const batch = batchOf(examples, most);
  await trainer.evaluate(batch);
  const start = performance.now();
  await trainer.evaluate(batch);
  return (performance.now() - start) / 1000 / batch.tokens.length;
}

/** Rows of usual lengths, as many as fit; one at least. */
function batchOf(examples: readonly Example[], most: number) {
  const some: Example[] = [];
  let tokens = 0;
  for (const example of examples) {
    if (some.length > 0 && tokens + example.tokens.length > most) break;
    some.push(example);
    tokens += example.tokens.length;
  }
  return packExamples(some, tokens)[0]!;
}

function evaluationsOf(plan: Plan): number {
  let count = 0;
  for (let step = 1; step <= plan.steps; step++) if (isEvaluated(step, plan)) count++;
  return count;
}

/** What the process has, and what the run will add to it; on a GPU what lies there. */
function bytesOf({ memory, isOnCpu }: Estimated): number | null {
  if (memory === null) return null;
  const added = memory.activations + memory.workspace;
  if (!isOnCpu) return memory.weights + memory.adapter + memory.optimizer + added;
  // The best adapter so far, its start and the archive's tensors are kept beside it.
  const now = process.memoryUsage.rss() + added + 3 * memory.adapter;
  return Math.max(now, process.resourceUsage().maxRSS * 1024);
}
