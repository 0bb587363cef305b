import type { AdapterModule } from "../engine/engine.ts";
import { tokensOf } from "./examples.ts";
import type { LoopSettings } from "./loop.ts";
import { memoryLine } from "./memory-line.ts";
import type { Plan } from "./plan.ts";
import type { PreparedExamples } from "./prepare.ts";
import { estimateRun, estimateText } from "./report/estimate.ts";
import { fittingPlan } from "./report/fitting.ts";
import { entry } from "./report/text.ts";
import type { TrainingRun } from "./train-lora.ts";

/**
 * The plan as memory holds it; the log hears what the run will take. A trainer of its own finds out: nothing of it is left
 * in the run's.
 * @throws OUT_OF_MEMORY with what fits, the signal's reason
 */
export async function foretold(
  { base, ranks, signal, log, given, observers }: LoopSettings & Pick<TrainingRun, "base" | "given">,
  { plan, training, validation }: PreparedExamples,
  initial: readonly AdapterModule[],
): Promise<Plan> {
  const adapter = await base.model.createAdapter(initial);
  const trainer = await base.model.createTrainer(adapter).catch(async (error: unknown) => {
    await adapter.close();
    throw error;
  });
  try {
    const tokens = tokensOf(training);
    // Ranks have to agree: none of them adapts alone.
    const chosen = ranks.size > 1 || given === undefined ? new Set(Object.keys(plan.settings)) : given;
    const fitting = await fittingPlan(plan, { trainer, tokens, given: chosen });
    if (fitting.note !== null) log?.(fitting.note);
    const { memory } = fitting;
    if (memory) log?.(memoryLine(memory));
    if (log) {
      const isOnCpu = !base.engine?.description.startsWith("cuda");
      const of = { plan: fitting.plan, training, validation, ranks, trainer, memory, isOnCpu, signal };
      const estimate = await estimateRun(of);
      for (const observer of observers ?? []) observer.estimate?.(estimate);
      const text = estimateText(estimate);
      if (text !== null) for (const line of entry(["estimate", text])) log(line);
    }
    return fitting.plan;
  } finally {
    await trainer.close();
    await adapter.close();
  }
}
