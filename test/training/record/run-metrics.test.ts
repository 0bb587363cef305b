import { describe, expect, it } from "vitest";
import { Metrics } from "../../../src/cog/prediction/metrics.ts";
import { MetricRules } from "../../../src/cog/worker/metrics.ts";
import type { Progress } from "../../../src/training/index.ts";
import { runMetrics } from "../../../src/training/index.ts";

/** A run of steps that take `seconds` each, and what the container has of it. */
function recorded(steps: number, { seconds = 0.01, evaluations = 0 } = {}) {
  const metrics = new Metrics();
  const rules = new MetricRules();
  const seen: [string, unknown][] = [];
  let now = 0;
  const observer = runMetrics(
    (name, value, mode = "replace") => {
      rules.check(name, value, mode);
      metrics.record(name, value, mode);
      seen.push([name, value]);
    },
    () => now,
  );
  for (let step = 1; step <= steps; step++) {
    now += seconds;
    observer.step!(progressOf(step, steps, seconds));
    if (evaluations > 0 && step % Math.ceil(steps / evaluations) === 0) observer.evaluation!({ step, loss: 2 / step });
  }
  observer.end!();
  return { metrics: metrics.snapshot(null) as unknown as RecordedMetrics, seen };
}

interface RecordedMetrics extends Record<string, unknown> {
  curve: { training: { step: number; loss: number }[]; validation: { step: number; loss: number }[] };
}

function progressOf(step: number, steps: number, seconds: number): Progress {
  const record = { step, loss: 1 / step, gradNorm: 2, learningRate: 1e-3, tokens: 100 };
  return {
    ...record,
    seconds,
    steps,
    epoch: step / 10,
    tokensPerSecond: 100 / seconds,
    secondsLeft: (steps - step) * seconds,
  };
}

describe("the metrics of a training", () => {
  it("are the numbers of the last step, and a point for each step of a short run", () => {
    const { metrics } = recorded(7, { evaluations: 1 });
    expect(metrics).toMatchObject({
      ...{ step: 7, steps: 7, epoch: 0.7, loss: 1 / 7, learning_rate: 1e-3, grad_norm: 2 },
      ...{ tokens_per_second: 10_000, seconds_left: 0, validation_loss: 2 / 7 },
    });
    expect(metrics.curve.training.map(({ step, loss }) => [step, loss])).toEqual(
      [1, 2, 3, 4, 5, 6, 7].map((step) => [step, 1 / step]),
    );
    expect(metrics.curve.training[0]).toEqual({
      ...{ step: 1, loss: 1, learning_rate: 1e-3, grad_norm: 2, tokens_per_second: 10_000 },
    });
    expect(metrics.curve.validation).toEqual([{ step: 7, loss: 2 / 7 }]);
  });

  it("are lists of 500 points at most, each the mean of its steps, whatever the length of the run", () => {
    const { metrics } = recorded(20_003, { seconds: 1e-3, evaluations: 10_000 });
    const { training, validation } = metrics.curve;
    expect(training).toHaveLength(Math.ceil(20_003 / 41));
    expect(training[0]!.step).toBe(41);
    expect(training[0]!.loss).toBeCloseTo(
      Array.from({ length: 41 }, (_, i) => 1 / (i + 1)).reduce((a, b) => a + b) / 41,
    );
    expect(training.at(-1)!.step).toBe(20_003);
    expect(validation.length).toBeLessThanOrEqual(501);
    expect(metrics.step).toBe(20_003);
  });

  it("are told ten times a second at most, but the last step always", () => {
    const { seen } = recorded(1000, { seconds: 0.01 });
    const steps = seen.filter(([name]) => name === "step").map(([, value]) => value as number);
    expect(steps.length).toBeLessThanOrEqual(102);
    expect([steps[0], steps.at(-1)]).toEqual([1, 1000]);
  });
});
