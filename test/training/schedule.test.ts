import { describe, expect, it } from "vitest";
import { learningRate, type ScheduleName } from "../../src/training/schedule.ts";

const ratesOf = (name: ScheduleName, warmup_steps: number, steps: number, learning_rate: number) =>
  Array.from({ length: steps + 1 }, (_, step) =>
    learningRate(step, { steps, settings: { lr_scheduler_type: name, warmup_steps, learning_rate } }),
  );

describe("learningRate", () => {
  // The numbers of transformers' own tests (tests/optimization/test_optimization.py), two digits: rate 10, ten steps.
  it.each<[ScheduleName, number, number[]]>([
    ["linear", 2, [0, 5, 10, 8.75, 7.5, 6.25, 5, 3.75, 2.5, 1.25]],
    ["cosine", 2, [0, 5, 10, 9.61, 8.53, 6.91, 5, 3.08, 1.46, 0.38]],
    ["constant_with_warmup", 4, [0, 2.5, 5, 7.5, 10, 10, 10, 10, 10, 10]],
    ["constant", 0, [10, 10, 10, 10, 10, 10, 10, 10, 10, 10]],
  ])("is transformers' for %s", (name, warmup, expected) => {
    ratesOf(name, warmup, 10, 10)
      .slice(0, 10)
      .forEach((rate, step) => {
        expect(Math.abs(rate - expected[step]!)).toBeLessThan(0.01);
      });
  });

  it("of the linear schedule falls so that the step after the last would have zero", () => {
    const rates = ratesOf("linear", 10, 100, 1);
    expect(rates.slice(0, 12)).toEqual([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 89 / 90]);
    expect(rates.slice(-2)).toEqual([1 / 90, 0]);
    expect(ratesOf("linear", 0, 4, 3e-3).slice(0, 4)).toEqual([3e-3, 3e-3 * 0.75, 1.5e-3, 3e-3 * 0.25]);
  });

  it("of the cosine schedule is half the peak half way, and sin^2 of the rest of the way anywhere", () => {
    const rates = ratesOf("cosine", 7, 107, 2e-4);
    expect(rates[57]).toBeCloseTo(1e-4, 15);
    for (let step = 7; step <= 107; step++) {
      expect(rates[step]).toBeCloseTo(2e-4 * Math.sin((Math.PI * (107 - step)) / 200) ** 2, 15);
    }
  });
});
