import { describe, expect, it } from "vitest";
import { Progress, type ProgressOutput } from "../../../src/llama/cli/progress.ts";

/** Collects what is shown; `at` is the clock. */
function output(isTerminal: boolean) {
  const shown: string[] = [];
  const clock = { at: 0 };
  const push = (text: string) => {
    shown.push(text);
  };
  const options: ProgressOutput = { isTerminal, write: push, line: push, now: () => clock.at };
  return { shown, clock, options };
}

describe("progress", () => {
  it("says how far, how fast and how much longer, a line every ten seconds", () => {
    const { shown, clock, options } = output(false);
    const progress = new Progress("Converting", 1e9, options);
    for (let second = 1; second <= 25; second++) {
      clock.at = second;
      progress.add(1e7);
    }
    progress.end();
    expect(shown).toEqual([
      "Converting: 1 %, 10.0 MB of 1.0 GB, 10.0 MB/s, 1 min 39 s left",
      "Converting: 11 %, 110 MB of 1.0 GB, 10.0 MB/s, 1 min 29 s left",
      "Converting: 21 %, 210 MB of 1.0 GB, 10.0 MB/s, 1 min 19 s left",
    ]);
  });

  it("moves a bar on a terminal, and takes it away", () => {
    const { shown, clock, options } = output(true);
    const progress = new Progress("Merging", 100, options);
    for (const second of [0.5, 2, 2.01, 3]) {
      clock.at = second;
      progress.add(25);
    }
    progress.end();
    expect(shown).toEqual([
      `\rMerging ${"█".repeat(12)}${"░".repeat(12)} 50 %, 50 B of 100 B, 25 B/s, 2 s left\x1b[K`,
      `\rMerging ${"█".repeat(24)} 100 %, 100 B of 100 B, 33 B/s, 0 s left\x1b[K`,
      "\r\x1b[K",
    ]);
  });

  it("shows nothing of work that takes no second", () => {
    const { shown, clock, options } = output(true);
    const progress = new Progress("Merging", 100, options);
    clock.at = 0.9;
    progress.add(100);
    progress.end();
    expect(shown).toEqual([]);
  });
});
