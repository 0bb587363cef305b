import { describe, expect, it } from "vitest";
import { logLines } from "../../src/training/log-lines.ts";

/** The steps of a run that its log shows, with the second at which it does. */
function shown(steps: number, secondsOf: (step: number) => number, options: { steps?: boolean } = {}) {
  let now = 0;
  const lines: [step: number, second: number][] = [];
  const observer = logLines((line) => lines.push([Number(/step +(\d+)/.exec(line)![1]), now]), {
    ...options,
    clock: () => now,
  });
  for (let step = 1; step <= steps; step++) {
    const seconds = secondsOf(step);
    now += seconds;
    const record = { step, loss: 1, gradNorm: 1, learningRate: 1e-3, tokens: 10 };
    observer.step!({ ...record, seconds, steps, epoch: 1, tokensPerSecond: 10, secondsLeft: 0 });
  }
  return lines;
}

describe("the lines of a run", () => {
  it("come every ten seconds and no later, the first and the last step among them", () => {
    const lines = shown(1000, () => 0.3);
    expect([lines[0]![0], lines.at(-1)![0]]).toEqual([1, 1000]);
    const gaps = lines.slice(1, -1).map(([, second], i) => second - lines[i]![1]);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(10);
    expect(Math.min(...gaps)).toBeGreaterThan(9.5);
  });

  it("are one a step where a step takes longer", () => {
    expect(shown(30, () => 25)).toHaveLength(30);
  });

  it("show all of few steps", () => {
    expect(shown(12, () => 0.01)).toHaveLength(12);
  });

  it("say that a step, or what follows it, takes its time; no more when the run is over", async () => {
    const lines: string[] = [];
    const observer = logLines((line) => lines.push(line), { seconds: 0.05 });
    observer.begin!(3);
    await expect.poll(() => lines.length).toBeGreaterThan(0);
    const record = { step: 1, loss: 1, gradNorm: 1, learningRate: 1e-3, tokens: 10 };
    observer.step!({ ...record, seconds: 1, steps: 3, epoch: 1, tokensPerSecond: 10, secondsLeft: 0 });
    await expect.poll(() => lines.at(-1)).toMatch(/^at work since step 1\/3, 0:0\d ago$/);
    observer.close!();
    const { length } = lines;
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(lines).toHaveLength(length);
    expect(lines[0]).toMatch(/^at work since the start of 3 steps, 0:0\d ago$/);
  });

  it("show the last step where one is due before the next is done", async () => {
    const lines: string[] = [];
    const observer = logLines((line) => lines.push(line), { seconds: 0.2 });
    observer.begin!(100);
    for (const step of [1, 2]) {
      const record = { step, loss: 1, gradNorm: 1, learningRate: 1e-3, tokens: 10 };
      observer.step!({ ...record, seconds: 0, steps: 100, epoch: 1, tokensPerSecond: 10, secondsLeft: 0 });
    }
    await expect.poll(() => lines.length).toBeGreaterThan(1);
    observer.close!();
    expect(lines.slice(0, 2)).toEqual([expect.stringMatching(/^step +1\/100/), expect.stringMatching(/^step +2\/100/)]);
  });

  it("leave the steps out where somebody is shown the metrics", () => {
    expect(shown(12, () => 0.01, { steps: false })).toEqual([]);
  });
});
