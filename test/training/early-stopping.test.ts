import { describe, expect, it } from "vitest";
import { earlyStop, stopLine } from "../../src/training/early-stopping.ts";
import type { StepRecord } from "../../src/training/progress.ts";
import { defaults } from "./default-settings.ts";

const stopAfter = (losses: number[], early_stopping_patience: number, done = losses.length * 10) =>
  earlyStop(
    {
      steps: Array.from({ length: done }) as StepRecord[],
      evaluations: losses.map((loss, i) => ({ step: (i + 1) * 10, loss })),
    },
    { steps: 100, settings: { ...defaults, early_stopping_patience } },
  );

describe("earlyStop", () => {
  it("counts the evaluations since the best one; an equal loss is no improvement", () => {
    expect(stopAfter([3, 2, 2.5], 2)).toBeNull();
    expect(stopAfter([3, 2, 2.5, 1.9, 2, 1.9], 3)).toBeNull();
    const stopped = stopAfter([3, 2, 2, 2.5], 2)!;
    expect(stopped).toEqual({ step: 40, steps: 100, evaluations: 2, best: { step: 20, loss: 2 } });
    expect(stopLine(stopped)).toBe(
      "stopped early after step 40 of 100: no better validation loss in 2 evaluations (best 2.0000 after step 20)",
    );
  });

  it("is off at 0, and has nothing to end after the last step", () => {
    expect(stopAfter([1, 2, 3, 4, 5], 0)).toBeNull();
    expect(stopAfter([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 3)).toBeNull();
    expect(stopAfter([], 3)).toBeNull();
  });
});
