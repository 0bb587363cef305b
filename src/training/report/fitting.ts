import type { EngineTrainer, MemoryPlan } from "../../engine/engine.ts";
import { CodedError, isCodedError } from "../../errors/index.ts";
import type { Given, Plan } from "../plan.ts";

/** A plan whose micro-batches fit, and what they take; null where the engine cannot tell. */
export interface FittingPlan {
  readonly plan: Plan;
  readonly memory: MemoryPlan | null;
  /** Where micro_batch_size had to adapt. */
  readonly note: string | null;
}

export interface FittingOptions {
  readonly trainer: EngineTrainer;
  /** Of all training rows. */
  readonly tokens: number;
  /** A micro_batch_size that was chosen is not changed. */
  readonly given: Given;
}

/**
 * The plan with a micro_batch_size that memory holds: smaller than its default where it has to be.
 * @throws OUT_OF_MEMORY naming the micro_batch_size, or else the cutoff_len, that fits instead of what was given
 */
export async function fittingPlan(plan: Plan, { trainer, tokens, given }: FittingOptions): Promise<FittingPlan> {
  const { micro_batch_size, cutoff_len, lora_dropout } = plan.settings;
  const planned = (size: number, cutoff: number) =>
    trainer.plan?.(Math.min(size * cutoff, tokens), lora_dropout > 0) ?? Promise.resolve(null);
  try {
    return { plan, memory: await planned(micro_batch_size, cutoff_len), note: null };
  } catch (error) {
    if (!isCodedError(error) || error.code !== "OUT_OF_MEMORY") throw error;
    const fits = (size: number, cutoff: number) =>
      planned(size, cutoff).then(
        () => true,
        () => false,
      );
    const size = await largest(micro_batch_size - 1, (each) => fits(each, cutoff_len));
    if (size >= 1 && !given.has("micro_batch_size")) {
      const note = `micro_batch_size ${size} instead of ${micro_batch_size}: what memory holds`;
      const smaller = { ...plan, settings: { ...plan.settings, micro_batch_size: size } };
      return { plan: smaller, memory: await planned(size, cutoff_len), note };
    }
    throw new CodedError("OUT_OF_MEMORY", error.message, { hint: await remedy(size, cutoff_len, fits), cause: error });
  }
}

async function remedy(
  size: number,
  cutoff: number,
  fits: (size: number, cutoff: number) => Promise<boolean>,
): Promise<string> {
  if (size >= 1) return `micro_batch_size ${size} fits.`;
  const shorter = await largest(cutoff - 1, (each) => fits(1, each));
  if (shorter >= 2) return `micro_batch_size 1 with cutoff_len ${shorter} fits.`;
  return "No micro-batch fits: take a smaller model, or a smaller lora_r.";
}

/** The largest of 1 .. most that fits, where all below one that fits do; 0 for none. */
async function largest(most: number, fits: (value: number) => Promise<boolean>): Promise<number> {
  let [low, high] = [0, most];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (await fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}
