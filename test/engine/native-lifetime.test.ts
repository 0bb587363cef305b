import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomConfig, writeRandomModel } from "./random-model.ts";

const folder = mkdtempSync(join(tmpdir(), "llama-lifetime-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a process with the native addon", () => {
  let input: string;
  const config = { ...randomConfig(3), slidingWindow: null };
  const tokens = 1500;
  beforeAll(async () => {
    const { tensors } = await writeRandomModel(folder, config, 3, "F32");
    const rope = { ...config.rope, inverseFrequencies: Array.from(config.rope.inverseFrequencies) };
    input = JSON.stringify({
      addon: join(import.meta.dirname, "..", "..", "build", "native", "llama_cpu.node"),
      tokens,
      options: {
        config: { ...config, rope },
        tensors: Array.from(tensors, ([name, source]) => ({ name, ...source })),
        threads: 2,
        isa: "auto",
        checkpointedLayers: -1,
        cacheBytes: 0,
        gpuModule: "",
        gpu: null,
      },
    });
  });

  /** A crash would end it by a signal; a hang runs into the test's time limit. */
  function run(mode: string): Promise<{ code: number | null; signal: string | null; output: string }> {
    const child = join(import.meta.dirname, "native-child.mjs");
    const started = spawn(process.execPath, ["--expose-gc", child, mode, input], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    started.stdout.on("data", (data) => {
      output += data;
    });
    started.stderr.on("data", (data) => {
      output += data;
    });
    return new Promise((resolve) => {
      started.on("close", (code, signal) => resolve({ code, signal, output: output.trim() }));
    });
  }

  const logits = `${tokens * config.vocabSize} logits`;
  const expectations: [mode: string, code: number, output: string][] = [
    ["exit while loading", 7, ""],
    ["exit while working", 7, ""],
    ["end with an idle model", 0, "idle"],
    ["end after the last job", 0, logits],
    ["terminate worker threads", 0, `${logits}\nall ended`],
  ];
  for (const [mode, code, output] of expectations) {
    it(`can ${mode}`, async () => {
      expect(await run(mode)).toEqual({ code, signal: null, output });
    });
  }

  // The sizes come from the Linux kernel.
  it.skipIf(process.platform !== "linux")("gives collected sequences and models back to the system", async () => {
    const { code, output } = await run("collect garbage");
    expect([code, output]).toEqual([0, expect.stringContaining("before")]);
    const { before, sequences, models } = JSON.parse(output);
    const cache = 2 * config.layers * config.kvHeads * config.headDim * 4000 * 4;
    // 400 caches were made; what the JavaScript heap and the allocator keep for themselves is far below 100 of them.
    expect(sequences.bytes - before.bytes).toBeLessThan(100 * cache);
    // Twenty more models, each with its own threads, of which at most the last and one more are still reachable.
    expect(models.threads - before.threads).toBeLessThanOrEqual(4);
  });
});
