import { describe, expect, it } from "vitest";
import type { Sampling } from "../../src/engine/engine.ts";
import { philox4x32, split64 } from "../../src/engine/philox.ts";
import { distribution, drawUniform, sampleToken } from "../../src/engine/sampling.ts";

const plain: Sampling = { temperature: 1, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0, index: 0 };
const logits = Float32Array.of(2, 1.5, 1.5, 0.5, 0, -1, -3, -4);

describe("Philox 4x32-10", () => {
  // The known-answer vectors that the authors publish with Random123.
  it("gives the published words", () => {
    expect(philox4x32([0, 0, 0, 0], 0, 0)).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const ones = 0xffffffff;
    expect(philox4x32([ones, ones, ones, ones], ones, ones)).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    const digitsOfPi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344] as const;
    expect(philox4x32(digitsOfPi, 0xa4093822, 0x299f31d0)).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
  });

  it("splits seeds of more than 32 bits", () => {
    expect(split64(2 ** 53 - 1)).toEqual([0xffffffff, 0x1fffff]);
    expect(drawUniform(1, 0)).not.toBe(drawUniform(1 + 2 ** 32, 0));
  });
});

describe("sampling", () => {
  it("penalises every distinct token once, then applies temperature, top-k and top-p", () => {
    const kept = distribution(logits, [0, 6, 6, 0], {
      ...plain,
      repetitionPenalty: 1.3,
      temperature: 0.7,
      topK: 5,
      topP: 0.8,
    });
    expect(kept.map(({ token }) => token)).toEqual([0, 1, 2]);
    // Six published digits.
    for (const [i, probability] of [0.345653, 0.327173, 0.327173].entries()) {
      expect(kept[i]!.probability).toBeCloseTo(probability, 6);
    }
  });

  it("keeps ties at the top-k threshold", () => {
    expect(distribution(logits, [], { ...plain, topK: 2 }).map(({ token }) => token)).toEqual([0, 1, 2]);
  });

  it("divides by the temperature before top-p", () => {
    const kept = distribution(Float32Array.of(3, 2, 1, 0, -1, -2), [], { ...plain, temperature: 2, topP: 0.8 });
    expect(kept.map(({ token }) => token)).toEqual([0, 1, 2]);
    for (const [i, probability] of [0.50648, 0.307196, 0.186324].entries()) {
      expect(kept[i]!.probability).toBeCloseTo(probability, 6);
    }
  });

  it("keeps the best token when top-p is tiny, the lowest id on ties", () => {
    expect(distribution(Float32Array.of(0, 2, 2), [], { ...plain, topP: 1e-9 })).toEqual([
      { token: 1, probability: 1 },
    ]);
  });

  it("is greedy at temperature 0, after penalty and forbidden tokens", () => {
    const greedy = { ...plain, temperature: 0 };
    expect(sampleToken(logits, [], greedy)).toBe(0);
    expect(sampleToken(logits, [0], { ...greedy, repetitionPenalty: 2 })).toBe(1);
    expect(sampleToken(logits, [], { ...greedy, forbidden: [0, 1] })).toBe(2);
  });

  it("draws each token as often as its probability says", () => {
    const counts = new Array<number>(logits.length).fill(0);
    const draws = 20_000;
    for (let index = 0; index < draws; index++) counts[sampleToken(logits, [], { ...plain, seed: 7, index })]!++;
    // Five standard deviations of a binomial share are at most 5 * 0.5 / sqrt(20000) = 0.018; the seed is fixed.
    for (const { token, probability } of distribution(logits, [], plain)) {
      expect(Math.abs(counts[token]! / draws - probability)).toBeLessThan(0.018);
    }
  });
});
