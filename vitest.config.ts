import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

const isThorough = process.env.THOROUGH_TESTS !== undefined;
const slow = "test/**/*.slow.test.ts";
/** Files that try less where time is short: sizes, random inputs, recordings. */
const graded = ["test/**/*.fuzz.test.ts", "test/**/conformance.test.ts"];

export default defineConfig({
  resolve: {
    // The longer name first: an alias also stands for what begins with it.
    alias: {
      "llama-lora-cog/cog": new URL("./src/cog/index.ts", import.meta.url).pathname,
      "llama-lora-cog": new URL("./src/index.ts", import.meta.url).pathname,
    },
  },
  test: {
    // Slow files wait for time limits, or try every way that something can end: npm run test:thorough runs
    // those, and again the graded ones.
    include: isThorough ? [slow, ...graded] : ["test/**/*.test.ts"],
    exclude: isThorough ? [] : [slow],
    pool: "forks",
    // Most files wait for processes and timers longer than they compute.
    maxWorkers: Math.max(3, availableParallelism()),
    testTimeout: 180_000,
    hookTimeout: 120_000,
    // Of what is waited for: a machine that is busy is no failure.
    expect: { poll: { timeout: 30_000 } },
  },
});
