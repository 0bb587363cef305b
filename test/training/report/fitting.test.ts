import { describe, expect, it } from "vitest";
import type { EngineTrainer, MemoryPlan } from "../../../src/engine/engine.ts";
import { CodedError } from "../../../src/errors/index.ts";
import type { Plan } from "../../../src/training/plan.ts";
import { fittingPlan } from "../../../src/training/report/fitting.ts";
import { defaults } from "../default-settings.ts";

/** A device that holds micro-batches of so many tokens. */
const holding = (most: number) =>
  ({
    plan: async (tokens: number) => {
      if (tokens > most) throw new CodedError("OUT_OF_MEMORY", `training on a micro-batch of ${tokens} tokens`);
      return { activations: tokens } as MemoryPlan;
    },
  }) as unknown as EngineTrainer;
const plan = { settings: { ...defaults, micro_batch_size: 8, cutoff_len: 256 } } as Plan;
const options = { tokens: 100_000, given: new Set<string>() };
const chosen = new Set(["micro_batch_size"]);

describe("a run that does not fit in memory", () => {
  it("adapts a default micro_batch_size to the largest that fits, and says so", async () => {
    const found = await fittingPlan(plan, { ...options, trainer: holding(900) });
    expect(found.plan.settings.micro_batch_size).toBe(3);
    expect(found.note).toBe("micro_batch_size 3 instead of 8: what memory holds");
    expect(found.memory).toMatchObject({ activations: 768 });
  });

  it("is refused with the micro_batch_size that fits where one was given", async () => {
    await expect(fittingPlan(plan, { ...options, given: chosen, trainer: holding(900) })).rejects.toMatchObject({
      code: "OUT_OF_MEMORY",
      message: "training on a micro-batch of 2048 tokens",
      hint: "micro_batch_size 3 fits.",
    });
  });

  it("is refused with the cutoff_len that fits where no micro-batch of whole rows does", async () => {
    await expect(fittingPlan(plan, { ...options, trainer: holding(99) })).rejects.toMatchObject({
      hint: "micro_batch_size 1 with cutoff_len 99 fits.",
    });
    await expect(fittingPlan(plan, { ...options, trainer: holding(0) })).rejects.toMatchObject({
      hint: "No micro-batch fits: take a smaller model, or a smaller lora_r.",
    });
  });

  it("does not count rows that are not there", async () => {
    const found = await fittingPlan(plan, { ...options, tokens: 500, given: chosen, trainer: holding(500) });
    expect(found).toMatchObject({ note: null, memory: { activations: 500 } });
  });
});
