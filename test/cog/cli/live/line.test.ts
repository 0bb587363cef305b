import { describe, expect, it } from "vitest";
import { liveLine, sparkline } from "../../../../src/cog/cli/live/line.ts";
import { type Measured, Measurements } from "../../../../src/cog/cli/live/measured.ts";

const run: Measured = {
  ...{
    step: 74,
    steps: 200,
    epoch: 1.11,
    loss: 1.23456,
    learningRate: 2.1e-4,
    tokensPerSecond: 812.4,
    secondsLeft: 95,
  },
  losses: Array.from({ length: 74 }, (_, i) => 4 / (i + 1)),
};

describe("the live line of a run", () => {
  it("shows all there is on a wide terminal", () => {
    const line = liveLine(run, { width: 199, blocks: true });
    expect(line).toMatch(
      /^step {2}74\/200 █{11}░{19} {2}37% {2}loss 1\.2346 {2}█[▁-█]+▁ {2}1:35 left {2}812 tokens\/s {2}epoch 1\.11 {2}lr 0\.00021$/,
    );
    expect(line.length).toBeLessThanOrEqual(199);
  });

  it("shows what is missed most on one of 80 columns", () => {
    const line = liveLine(run, { width: 79, blocks: true });
    expect(line).toMatch(
      /^step {2}74\/200 █+[▏▎▍▌▋▊▉]?░+ {2}37% {2}loss 1\.2346 {2}█[▁-█]+▁ {2}1:35 left {2}812 tokens\/s$/,
    );
    expect(line.length).toBeLessThanOrEqual(79);
  });

  it.each([true, false])("never goes beyond the width (blocks: %s)", (blocks) => {
    for (let width = 1; width < 300; width++) {
      expect(liveLine(run, { width, blocks }).length).toBeLessThanOrEqual(width);
    }
  });

  it("is ASCII where a terminal knows no blocks", () => {
    expect(liveLine(run, { width: 120, blocks: false })).toBe(
      "step  74/200 [###########-------------------]  37%  loss 1.2346  1:35 left  812 tokens/s  epoch 1.11  lr 0.00021",
    );
  });

  it("shows steps alone where nothing else is measured, the whole run where there are more steps than was said", () => {
    expect(liveLine({ step: 9, steps: 8, losses: [] }, { width: 60, blocks: false })).toBe(
      `step 9/8 [${"#".repeat(30)}] 100%`,
    );
  });

  it("has a curve between the lowest and the highest of the losses", () => {
    expect(sparkline([4, 4, 3, 2, 1, 1], 3)).toBe("█▅▁");
    expect(sparkline([2, 2], 10)).toBe("▁▁");
  });
});

describe("the measurements of a run", () => {
  const metric = (name: string, value: unknown, mode = "replace") => ({ name, value, mode });

  it("begin with the first step that says of how many", () => {
    const measurements = new Measurements();
    expect(measurements.add(metric("words", 3))).toBe(false);
    expect(measurements.add(metric("step", "text"))).toBe(false);
    expect(measurements.add(metric("step", 1))).toBe(true);
    expect(measurements.now).toBeNull();
    measurements.add(metric("steps", 4));
    expect(measurements.now).toEqual({ step: 1, steps: 4, losses: [] });
  });

  it("smooth the loss and keep few of many, from the first on", () => {
    const measurements = new Measurements();
    measurements.add(metric("steps", 100_000));
    for (let step = 1; step <= 100_000; step++) {
      measurements.add(metric("step", step));
      measurements.add(metric("loss", step <= 50_000 ? 4 : 2));
    }
    const { loss, losses } = measurements.now!;
    expect(loss).toBeCloseTo(2);
    expect(losses.length).toBeLessThanOrEqual(512);
    expect([losses[0], losses.at(-1)]).toEqual([4, 2]);
    expect(losses.filter((each) => each === 4).length).toBeCloseTo(losses.length / 2, -1);
  });
});
