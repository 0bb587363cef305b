import { describe, expect, it } from "vitest";
import { learningRate, planRun } from "../../src/training/plan.ts";
import { alpacaLora } from "./settings.ts";

describe("planRun", () => {
  it("leaves alpaca-lora's defaults as they are on its data set", () => {
    // 51,760 rows - 2,000: 388 full batches of 128 and a last one with 96 rows, per epoch.
    expect(planRun(51_760, 2048, alpacaLora)).toEqual({
      trainingRows: 49_760,
      validationRows: 2000,
      batchRows: 128,
      cutoff: 256,
      stepsPerEpoch: 389,
      steps: 1167,
      warmupSteps: 100,
      adapted: null,
    });
  });

  it("keeps a tenth for validation, and a tenth of the steps for warm-up", () => {
    expect(planRun(2000, 2048, { ...alpacaLora, batch_size: 32 })).toMatchObject({
      validationRows: 200,
      trainingRows: 1800,
      stepsPerEpoch: 57,
      steps: 171,
      warmupSteps: 17,
      adapted: "Adapted to 2000 rows: val_set_size 200 instead of 2000, warmup_steps 17 instead of 100",
    });
  });

  it("validates on none of fewer than 50 rows, and makes a batch of the data", () => {
    expect(planRun(49, 2048, alpacaLora)).toMatchObject({ validationRows: 0, batchRows: 49, steps: 3, warmupSteps: 0 });
    expect(planRun(50, 2048, alpacaLora)).toMatchObject({ validationRows: 5, batchRows: 45 });
    expect(planRun(1, 128, alpacaLora)).toMatchObject({ validationRows: 0, batchRows: 1, cutoff: 128 });
  });

  it("takes smaller wishes as they are", () => {
    const wishes = { ...alpacaLora, val_set_size: 3, batch_size: 7, warmup_steps: 2, cutoff_len: 64 };
    expect(planRun(100, 2048, wishes)).toMatchObject({
      validationRows: 3,
      batchRows: 7,
      warmupSteps: 2,
      cutoff: 64,
      adapted: null,
    });
  });
});

describe("learningRate", () => {
  it("starts at zero, rises to the peak, and falls so that the step after the last would have zero", () => {
    const plan = planRun(400, 2048, { ...alpacaLora, num_epochs: 1, batch_size: 4, val_set_size: 0, warmup_steps: 10 });
    const rates = Array.from({ length: plan.steps + 1 }, (_, step) => learningRate(step, plan, 1));
    expect(plan.steps).toBe(100);
    expect(rates.slice(0, 12)).toEqual([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 89 / 90]);
    expect(rates.at(-2)).toBe(1 / 90);
    expect(rates.at(-1)).toBe(0);
  });

  it("starts at the peak without warm-up", () => {
    const plan = planRun(8, 2048, { ...alpacaLora, num_epochs: 2, batch_size: 4, val_set_size: 0, warmup_steps: 0 });
    expect([0, 1, 2, 3].map((step) => learningRate(step, plan, 3e-3))).toEqual([
      3e-3,
      3e-3 * 0.75,
      1.5e-3,
      3e-3 * 0.25,
    ]);
  });
});
