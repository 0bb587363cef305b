import { describe, expect, it } from "vitest";
import { Secrets } from "../../../src/cog/worker/secrets.ts";

const mask = "**********";
const knowing = (...values: string[]): Secrets => {
  const secrets = new Secrets();
  values.forEach((value, run) => {
    secrets.add({ run, input: { token: value }, secrets: ["token"] });
  });
  return secrets;
};

/** Numbers from 0 to 1 that are the same in every run. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function coversAt(value: string, line: string, at: number): boolean {
  const from = line.indexOf(value, Math.max(0, at - value.length + 1));
  return from >= 0 && from <= at;
}

describe("secrets of runs", () => {
  it("are covered where a plain search finds them, whatever they share", () => {
    const random = randomFrom(7);
    const text = (length: number) => Array.from({ length }, () => (random() < 0.8 ? "z" : "y")).join("");
    for (let round = 0; round < 300; round++) {
      const values = Array.from({ length: 12 }, () => text(4 + Math.floor(random() * 9)));
      const line = text(80);
      const covered = [...line].map((_, at) => values.some((value) => coversAt(value, line, at)));
      const plain = [...line].map((character, at) => (covered[at] ? "\0" : character)).join("");
      expect(knowing(...values).mask(line)).toBe(plain.replace(/\0+/g, mask));
    }
  });

  it("show as one when they are long, and show no part of theirs", () => {
    const value = Array.from({ length: 400 }, (_, i) => i.toString(36)).join("-");
    const secrets = knowing(value);
    expect(secrets.mask(`a ${value} b`)).toBe(`a ${mask} b`);
    expect(secrets.mask(value.slice(0, 500), { isCut: true })).toBe(mask);
  });

  it("do not show the rest of a line when their first lines alone are printed", () => {
    const lines = Array.from({ length: 5 }, (_, i) => `${i}${"abcdefghij".repeat(4)}${i}`);
    expect(knowing(lines.join("\n")).mask(`${lines.slice(0, 2).join("\n")} end`)).toBe(`${mask} end`);
  });

  it("of fewer than four characters are not searched for, nor such lines", () => {
    expect(knowing("abc", "x\nlonger\ny").mask("abc x longer y")).toBe(`abc x ${mask} y`);
  });

  it("are known after the end of their run, the last thousand", () => {
    const secrets = knowing("oldest-1");
    secrets.ended(0);
    expect(secrets.mask("oldest-1")).toBe(mask);
    for (let run = 1; run <= 1000; run++) {
      secrets.add({ run, input: { token: `value-${run}.` }, secrets: ["token"] });
      secrets.ended(run);
    }
    expect(secrets.mask("oldest-1 value-1. value-1000.")).toBe(`oldest-1 ${mask} ${mask}`);
  });

  it("are known by their last 256 KiB, where they are long", () => {
    const secrets = new Secrets();
    const value = (run: number) => `${run}-${"x".repeat(16_000)}`;
    for (let run = 10; run < 30; run++) {
      secrets.add({ run, input: { token: value(run) }, secrets: ["token"] });
      secrets.ended(run);
    }
    expect(secrets.mask(value(29))).toBe(mask);
    expect(secrets.mask(value(10))).toMatch(/^10-/);
  });

  it("stay known while another run has the same", () => {
    const secrets = knowing("shared-one", "shared-one");
    secrets.ended(0);
    for (let run = 2; run <= 1003; run++) {
      secrets.add({ run, input: { token: `value-${run}.` }, secrets: ["token"] });
      secrets.ended(run);
    }
    expect(secrets.mask("shared-one")).toBe(mask);
  });
});
