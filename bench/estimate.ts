// Estimates against measurements: node scripts/bench.mjs bench/estimate.ts [--shapes tiny,20M,110M] [--data FILE:ROWS ...]
// Each run is a process of its own, whose peak memory is its own. What was measured is written to bench/results/estimate.json.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { Llama } from "../src/llama/index.ts";
import { readDataset, trainLora } from "../src/training/index.ts";
import type { Estimate } from "../src/training/report/estimate.ts";
import { chosen } from "../test/training/default-settings.ts";
import { provenance } from "./provenance.ts";
import { randomCheckpoint, shape110M } from "./random-checkpoint.ts";

const root = join(import.meta.dirname, "..");
const shared = join(root, "..", "shared", "data");
const { values } = parseArgs({
  options: {
    shapes: { type: "string", default: "tiny,20M,110M" },
    data: {
      type: "string",
      multiple: true,
      default: [join(shared, "datasets", "self_instruct_seed.json"), join(shared, "datasets", "insurance_zh.json")],
    },
    /** Tokens of a run, about. */
    rows: { type: "string", default: "175" },
    cache: { type: "string", default: join(root, "build", "bench") },
    out: { type: "string", default: join(root, "bench", "results", "estimate.json") },
    one: { type: "string" },
  },
});

const shape20M = {
  ...shape110M,
  hiddenSize: 256,
  intermediateSize: 768,
  layers: 4,
  heads: 8,
  kvHeads: 8,
  headDim: 32,
  rope: { ...shape110M.rope, inverseFrequencies: Float32Array.from({ length: 16 }, (_, i) => 10000 ** (-i / 16)) },
};

function weightsOf(shape: string): string {
  if (shape === "tiny") return join(root, "weights", "tiny");
  if (shape !== "20M" && shape !== "110M") return shape;
  const folder = join(values.cache, `estimate-${shape}`);
  if (existsSync(join(folder, "model.safetensors"))) return folder;
  randomCheckpoint(folder, shape === "20M" ? shape20M : shape110M, "BF16");
  renameSync(join(folder, "random-BF16.safetensors"), join(folder, "model.safetensors"));
  copyFileSync(join(shared, "tokenizers", "llama", "tokenizer.model"), join(folder, "tokenizer.model"));
  return folder;
}

async function one(shape: string, file: string) {
  const rows = (await readDataset(file)).rows.slice(0, Number(values.rows));
  const base = await Llama.load({ weights: weightsOf(shape), log: () => {} });
  const foretold: Estimate[] = [];
  let [start, seconds] = [0, 0];
  const observer = {
    estimate: (estimate: Estimate) => {
      foretold.push(estimate);
      start = performance.now();
    },
    end: () => {
      seconds = (performance.now() - start) / 1000;
    },
  };
  const settings = chosen({ num_epochs: shape === "tiny" ? 6 : 1, val_set_size: 20, batch_size: 16 });
  await trainLora({ base, rows, ...settings, observers: [observer], log: () => {} });
  const bytes = process.resourceUsage().maxRSS * 1024;
  await base.close();
  return { shape: basename(shape), data: basename(file), estimated: foretold[0], measured: { seconds, bytes } };
}

if (values.one !== undefined) {
  const [shape, file] = JSON.parse(values.one) as [string, string];
  process.stdout.write(`${JSON.stringify(await one(shape, file))}\n`);
} else {
  const kept = existsSync(values.out) ? JSON.parse(readFileSync(values.out, "utf8")).runs : [];
  for (const shape of values.shapes.split(",")) {
    for (const file of values.data) {
      const words = ["scripts/bench.mjs", "bench/estimate.ts", "--one", JSON.stringify([shape, file])];
      const child = spawnSync(process.execPath, [...words, "--rows", values.rows, "--cache", values.cache], {
        cwd: root,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "inherit"],
      });
      const run = JSON.parse(child.stdout.split("\n").find((line) => line.startsWith("{"))!);
      const off = (a: number, b: number) => `${(100 * (a / b - 1)).toFixed(0)} %`;
      console.log(
        `${run.shape} ${run.data}: ${run.estimated.seconds?.toFixed(1)} s foretold, ${run.measured.seconds.toFixed(1)} s ` +
          `(${off(run.estimated.seconds, run.measured.seconds)}); ${(run.estimated.bytes / 1e6).toFixed(0)} MB foretold, ` +
          `${(run.measured.bytes / 1e6).toFixed(0)} MB (${off(run.estimated.bytes, run.measured.bytes)})`,
      );
      const at = kept.findIndex((each: typeof run) => each.shape === run.shape && each.data === run.data);
      if (at < 0) kept.push(run);
      else kept[at] = run;
      writeFileSync(values.out, `${JSON.stringify({ ...provenance(), runs: kept }, null, 2)}\n`);
    }
  }
}
