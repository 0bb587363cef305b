import { describe, expect, it } from "vitest";
import { shareOf } from "../../../src/training/distributed/share.ts";
import { exampleOf } from "../../../src/training/examples.ts";
import { permutation, RandomStream } from "../../../src/training/random.ts";

const source = { file: "data.json", number: 1, unit: "record" } as const;
const example = (length: number) => exampleOf(new Int32Array(length), [[0, length]], source);
const lengths = (count: number) => Array.from(permutation(count, new RandomStream(1, "shuffle")), (i) => 2 + i);

describe("shareOf", () => {
  it.each([
    [1, 7],
    [2, 7],
    [3, 64],
    [5, 3],
    [4, 0],
  ])("deals every example to exactly one of %i ranks (%i examples), in the step's order", (size, count) => {
    const examples = lengths(count).map(example);
    const shares = Array.from({ length: size }, (_, rank) => shareOf(examples, { rank, size }));
    const dealt = shares.flat();
    expect(dealt).toHaveLength(count);
    expect(new Set(dealt)).toEqual(new Set(examples));
    for (const share of shares) {
      const places = share.map((one) => examples.indexOf(one));
      expect(places).toEqual(places.toSorted((a, b) => a - b));
    }
  });

  it("gives the ranks equally many tokens, up to one example", () => {
    const examples = lengths(100).map(example);
    const tokens = [0, 1, 2].map((rank) =>
      shareOf(examples, { rank, size: 3 }).reduce((sum, one) => sum + one.tokens.length, 0),
    );
    expect(Math.max(...tokens) - Math.min(...tokens)).toBeLessThanOrEqual(101);
  });
});
