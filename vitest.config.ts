import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { "llama-lora-cog/cog": new URL("./src/cog/index.ts", import.meta.url).pathname } },
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    testTimeout: 60_000,
    // A second, the default, is short for a machine that does other things too.
    expect: { poll: { timeout: 30_000 } },
    hookTimeout: 120_000,
  },
});
