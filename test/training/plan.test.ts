import { describe, expect, it } from "vitest";
import type { LlamaConfig } from "../../src/engine/config.ts";
import { isEvaluated } from "../../src/training/evaluation.ts";
import { cutoffFor, planRun } from "../../src/training/plan.ts";
import type { TrainingSettings } from "../../src/training/settings.ts";
import { smallModel } from "../llama/adapter/small-model.ts";
import { chosen, defaults } from "./default-settings.ts";

const wide: LlamaConfig = { ...smallModel, hiddenSize: 4096 };
const planOf = (rows: number, choice: Partial<TrainingSettings> = {}, model = wide) => {
  const { settings, given } = chosen(choice);
  return planRun(rows, model, settings, given);
};

describe("defaults", () => {
  it("stay as they are on alpaca-lora's data set", () => {
    // 51,760 rows - 2,000: 388 full batches of 128 and a last one with 96 rows, per epoch.
    const plan = {
      settings: defaults,
      trainingRows: 49_760,
      stepsPerEpoch: 389,
      steps: 1167,
      evaluatesEpochs: true,
      notes: [],
    };
    expect(planOf(51_760)).toEqual(plan);
    expect(planOf(51_760, {}, { ...wide, hiddenSize: 192 })).toEqual(plan);
  });

  it("adapt to four rows so that there are enough steps, and one line says how", () => {
    expect(planOf(4, {}, { ...wide, hiddenSize: 192 })).toMatchObject({
      settings: { num_epochs: 200, batch_size: 4, val_set_size: 0, warmup_steps: 20, learning_rate: 0.0033 },
      steps: 200,
      notes: [
        "Adapted to 4 rows: val_set_size 0 instead of 2000, batch_size 4 instead of 128, num_epochs 200 instead of 3, " +
          "warmup_steps 20 instead of 100, learning_rate 0.0033 instead of 0.0003",
      ],
    });
  });

  it.each([
    [1, { num_epochs: 200, batch_size: 1, val_set_size: 0 }, 200],
    [49, { num_epochs: 29, batch_size: 8, val_set_size: 0 }, 203],
    [50, { num_epochs: 34, batch_size: 8, val_set_size: 5 }, 204],
    [1000, { num_epochs: 3, batch_size: 8, val_set_size: 100 }, 339],
    [5000, { num_epochs: 3, batch_size: 64, val_set_size: 500 }, 213],
    [10_000, { num_epochs: 3, batch_size: 128, val_set_size: 1000 }, 213],
  ])("make at least 200 steps of %i rows", (rows, settings, steps) => {
    expect(planOf(rows)).toMatchObject({ settings: { ...settings, learning_rate: defaults.learning_rate }, steps });
  });

  it("give way to what was chosen", () => {
    expect(planOf(100, { num_epochs: 1, batch_size: 50 })).toMatchObject({
      settings: { num_epochs: 1, batch_size: 50, val_set_size: 10, warmup_steps: 0 },
      steps: 2,
    });
    // A large batch is no reason to see many rows more often.
    expect(planOf(2000, { batch_size: 512 }).settings.num_epochs).toBe(3);
  });
});

describe("settings that were chosen", () => {
  it("are honoured on any number of rows", () => {
    const choice = { val_set_size: 2, batch_size: 3, num_epochs: 5, warmup_steps: 9, learning_rate: 1e-5 };
    expect(planOf(8, choice, smallModel)).toMatchObject({ settings: choice, trainingRows: 6, steps: 10, notes: [] });
  });

  it("may ask for a batch of more rows than there are: every step takes all", () => {
    const plan = planOf(4, { batch_size: 128, num_epochs: 7 });
    expect(plan).toMatchObject({ settings: { batch_size: 128 }, steps: 7 });
    expect(plan.notes).toContain("batch_size 128 holds all 4 rows: a step is an epoch");
  });

  it.each([
    [{ val_set_size: 8 }, "val_set_size 8 of 8 rows leaves none to train on"],
    [{ val_set_size: 9 }, "val_set_size 9 of 8 rows leaves none to train on"],
    [
      { warmup_steps: 3, num_epochs: 3, batch_size: 8 },
      "warmup_steps 3 of 3 steps leaves none at the full learning rate",
    ],
  ])("are refused where the rows do not allow them: %j", (choice, message) => {
    expect(() => planOf(8, choice)).toThrow(expect.objectContaining({ code: "TRAINING_SETTINGS", message }));
  });

  it("may not have rows longer than the model's context; the default gives way to it", () => {
    const cutoff = (choice: Partial<TrainingSettings>) => {
      const { settings, given } = chosen(choice);
      return cutoffFor(128, settings, given);
    };
    expect([cutoff({}), cutoff({ cutoff_len: 64 }), cutoff({ cutoff_len: 128 })]).toEqual([128, 64, 128]);
    expect(() => cutoff({ cutoff_len: 256 })).toThrow(
      expect.objectContaining({
        code: "TRAINING_SETTINGS",
        message: "cutoff_len 256 is more than the model's context of 128",
      }),
    );
  });
});

describe("warmup_ratio", () => {
  const choice = { num_epochs: 1, batch_size: 4, val_set_size: 0 };

  it("is a share of the steps, rounded up, and a line says so", () => {
    const plan = planOf(400, { ...choice, warmup_ratio: 0.034 });
    expect([plan.steps, plan.settings.warmup_steps]).toEqual([100, 4]);
    expect(plan.notes).toContain("warmup_ratio 0.034: 4 of 100 steps");
    // transformers takes the ratio where warmup_steps is 0.
    expect(planOf(400, { ...choice, warmup_ratio: 0.1, warmup_steps: 0 }).settings.warmup_steps).toBe(10);
  });

  it("is refused beside warmup_steps, and where no step is left", () => {
    expect(() => planOf(400, { ...choice, warmup_ratio: 0.1, warmup_steps: 5 })).toThrow(
      expect.objectContaining({
        code: "TRAINING_SETTINGS",
        message: "both warmup_steps 5 and warmup_ratio 0.1 are given",
      }),
    );
    expect(() => planOf(4, { ...choice, warmup_ratio: 0.1 })).toThrow(
      "warmup_ratio 0.1, warmup_steps 1 of 1 step leaves none at the full learning rate",
    );
  });

  it("is not needed for a constant schedule: it warms up only where that was asked for", () => {
    const warmUp = (more: Partial<TrainingSettings>) => planOf(400, { ...choice, ...more }).settings.warmup_steps;
    expect(warmUp({ lr_scheduler_type: "constant" })).toBe(0);
    expect(warmUp({ lr_scheduler_type: "constant", warmup_steps: 7 })).toBe(7);
    expect(warmUp({ lr_scheduler_type: "constant_with_warmup" })).toBe(10);
  });
});

describe("evaluations", () => {
  const stepsOf = (choice: Partial<TrainingSettings>) => {
    const plan = planOf(40, { num_epochs: 5, batch_size: 10, val_set_size: 10, ...choice });
    return Array.from({ length: plan.steps }, (_, i) => i + 1).filter((step) => isEvaluated(step, plan));
  };

  it("are at the end of every epoch by default", () => {
    expect(stepsOf({})).toEqual([3, 6, 9, 12, 15]);
  });

  it("are every eval_steps and at the end where that is given", () => {
    expect(stepsOf({ eval_steps: 4 })).toEqual([4, 8, 12, 15]);
    expect(stepsOf({ eval_steps: 200 })).toEqual([15]);
  });
});
