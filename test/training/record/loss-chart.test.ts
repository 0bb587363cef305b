import { describe, expect, it } from "vitest";
import { lossChart } from "../../../src/training/record/loss-chart.ts";
import { extremes, type Point, smoothed } from "../../../src/training/record/thinning.ts";

const curve = (steps: number, lossOf = (step: number) => 1 + 3 / step): Point[] =>
  Array.from({ length: steps }, (_, i) => [i + 1, lossOf(i + 1)]);

const pointsOf = (svg: string) => [...svg.matchAll(/points="([^"]*)"/g)].map(([, points]) => points!.split(" "));

/** Names of elements that are closed in the order in which they were opened; throws where markup is not well formed. */
function elementsOf(svg: string): string[] {
  const names: string[] = [];
  const open: string[] = [];
  let rest = svg;
  while (rest !== "") {
    const tag = /^<(\/?)(\w+)((?: [\w:-]+="[^"<]*")*)(\/?)>/.exec(rest);
    const text = /^(?:[^<>&]|&(?:amp|lt|gt);)+/.exec(rest);
    if (tag === null && text === null) throw new Error(`not XML: ${rest.slice(0, 60)}`);
    rest = rest.slice((tag ?? text)![0].length);
    if (tag === null) continue;
    const [, isEnd, name, , isEmpty] = tag as unknown as [string, string, string, string, string];
    if (isEnd !== "") expect(open.pop()).toBe(name);
    else {
      names.push(name);
      if (isEmpty === "") open.push(name);
    }
  }
  expect(open).toEqual([]);
  return names;
}

describe("the picture of a run", () => {
  it.each([
    ["one step", curve(1), []],
    ["ten steps", curve(10), curve(3)],
    ["a thousand steps", curve(1000), curve(10)],
    ["100,000 steps", curve(100_000), curve(5000)],
    ["a loss that stays the same", curve(50, () => 2), []],
    ["a loss of zero", curve(50, () => 0), []],
    ["a loss that rises a million times", curve(100, (step) => 10 ** (step / 10)), []],
    ["no step", [], []],
  ])("is well-formed, of few points, all of them numbers: %s", (_, training, validation) => {
    const svg = lossChart("a run", training, validation);
    expect(elementsOf(svg)).toContain("svg");
    expect(svg).not.toMatch(/NaN|Infinity|undefined|null/);
    expect(pointsOf(svg).flat().length).toBeLessThanOrEqual(2000);
    expect(svg.length).toBeLessThan(40_000);
  });

  it("shows a title as it is, whatever is in it", () => {
    const svg = lossChart('</title><script>alert("1")</script>&\ud800\u0007', curve(3), []);
    expect(elementsOf(svg)).not.toContain("script");
    expect(svg).toContain('&lt;/title&gt;&lt;script&gt;alert("1")&lt;/script&gt;&amp;');
  });

  it("keeps the lowest and the highest of many losses", () => {
    const points = curve(100_000, (step) => (step === 51_111 ? 9 : step === 77_777 ? 0.1 : 2));
    const kept = extremes(points, 1000);
    expect(kept.length).toBeLessThanOrEqual(1000);
    expect(kept).toContainEqual([51_111, 9]);
    expect(kept).toContainEqual([77_777, 0.1]);
    expect(kept.map(([step]) => step)).toEqual(kept.map(([step]) => step).toSorted((a, b) => a - b));
  });

  it("smooths without lagging behind: a straight line stays, and noise around it is less", () => {
    const straight = curve(100, (step) => 5 - step / 50);
    for (const [i, [step, loss]] of smoothed(straight, 9).entries()) {
      expect(step).toBe(straight[i]![0]);
      expect(loss).toBeCloseTo(straight[i]![1], 12);
    }
    const noisy = smoothed(
      straight.map(([step, loss]): Point => [step, loss + (step % 2 === 0 ? 1 : -1)]),
      9,
    );
    for (const [i, [, loss]] of noisy.slice(4, -4).entries()) {
      expect(Math.abs(loss - straight[i + 4]![1])).toBeLessThan(0.15);
    }
  });
});
