import { describe, expect, it } from "vitest";
import { Metrics } from "../../../src/cog/prediction/metrics.ts";
import { expectLinear } from "../../fuzzing.ts";

describe("the metrics of a run", () => {
  it("stay as they were in a snapshot, whatever is recorded later", () => {
    const metrics = new Metrics();
    metrics.record("curve", 1, "append");
    metrics.record("best.loss", 2, "replace");
    const before = metrics.snapshot(null);
    metrics.record("curve", 3, "append");
    metrics.record("best.loss", 1, "replace");
    expect(before).toEqual({ curve: [1], best: { loss: 2 } });
    expect(metrics.snapshot(0.5)).toEqual({ curve: [1, 3], best: { loss: 1 }, predict_time: 0.5 });
  });

  it("cost time in proportion to the length of a list", async () => {
    const append = (text: string) => {
      const metrics = new Metrics();
      for (const item of text) metrics.record("curve", item, "append");
    };
    await expectLinear((length) => "x".repeat(length), append, 2 ** 16);
  });

  it("are as many numbers as were asked for, by their dotted names", () => {
    const metrics = new Metrics();
    for (const [name, value] of [
      ["a.b.c", 1],
      ["text", "x"],
      ["a.list", [1]],
      ["d", 2],
      ["e", 3],
    ] as const)
      metrics.record(name, value, "replace");
    expect(metrics.numbers(2)).toEqual([
      ["a.b.c", 1],
      ["d", 2],
    ]);
  });
});
