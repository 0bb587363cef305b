// npm run bench: prefill, decode and LoRA training speed of the native engine on a 110M-shape LLaMA with random weights,
// beside the peers named on the command line, measured in turn on the same cores. Prints a table, writes JSON.
//   --torch PYTHON        an interpreter with torch, transformers and peft
//   --prototype COMMAND   a program that prints "pp512 <tokens/s>" and "tg128 <tokens/s>"
//   --threads N (2)  --rounds N (5)  --out FILE
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import type { AdapterModule, Engine, EngineModel, PackedBatch } from "../src/engine/engine.ts";
import { openEngine } from "../src/engine/open.ts";
import { randomCheckpoint, shape110M } from "./random-checkpoint.ts";

const root = join(import.meta.dirname, "..");
const { values: options } = parseArgs({
  options: {
    torch: { type: "string" },
    prototype: { type: "string" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "5" },
    out: { type: "string", default: join(root, "build", "bench", "engine.json") },
  },
});
const rounds = Number(options.rounds);
const folder = join(root, "build", "bench");
const greedy = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0, index: 0 };

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
const seconds = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
};

/** Token ids that are neither special nor constant; their values do not change the speed. */
const tokens = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => 300 + ((i * 7919) % 30000));

async function serving(model: EngineModel): Promise<{ prefill: number; decode: number }> {
  const sequence = await model.createSequence({ capacity: 1024 });
  const prefill = await seconds(() => model.step([{ sequence, tokens: tokens(512), sampling: greedy }]));
  sequence.truncate(0);
  await model.step([{ sequence, tokens: tokens(1), sampling: greedy }]);
  const decode = await seconds(async () => {
    for (let i = 0; i < 128; i++) await model.step([{ sequence, tokens: tokens(1), sampling: greedy }]);
  });
  sequence.close();
  return { prefill: 512 / prefill, decode: 128 / decode };
}

/** Rank-8 pairs on every q and v, as alpaca-lora sets them; B is not zero so that no gradient vanishes. */
function alpacaAdapter(): AdapterModule[] {
  const { layers, hiddenSize } = shape110M;
  const fill = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i) * 0.02);
  return Array.from({ length: layers }, (_, layer) =>
    (["q_proj", "v_proj"] as const).map((linear) => ({
      layer,
      linear,
      rank: 8,
      scale: 2,
      a: fill(8 * hiddenSize),
      b: fill(hiddenSize * 8),
    })),
  ).flat();
}

async function training(model: EngineModel): Promise<number> {
  const trainer = await model.createTrainer(await model.createAdapter(alpacaAdapter()));
  const ids = tokens(4 * 512);
  const targets = Int32Array.from(ids, (_, i) => (i % 512 === 511 ? -100 : ids[i + 1]!));
  const batch: PackedBatch = { tokens: ids, targets, offsets: Int32Array.from([0, 512, 1024, 1536, 2048]) };
  const step = { learningRate: 3e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 };
  const taken: number[] = [];
  for (let i = 0; i <= rounds; i++) {
    taken.push(
      await seconds(async () => {
        await trainer.accumulate(batch, 1 / (4 * 511));
        await trainer.update(step);
      }),
    );
  }
  await trainer.close();
  return ids.length / median(taken.slice(1));
}

function runTorch(dtype: string): Record<string, unknown> | null {
  if (!options.torch) return null;
  const script = join(root, "bench", "peers", "torch_lora.py");
  const args = [script, join(folder, "config.json"), options.threads, "4", "512", String(Math.min(rounds, 3)), dtype];
  return JSON.parse(execFileSync(options.torch, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
}

function runPrototype(): { prefill: number; decode: number } | null {
  if (!options.prototype) return null;
  const text = execFileSync("sh", ["-c", options.prototype], { encoding: "utf8" });
  const number = (name: string) => Number(new RegExp(`${name} ([\\d.]+)`).exec(text)?.[1]);
  return { prefill: number("pp512"), decode: number("tg128") };
}

process.env.LLAMA_THREADS = options.threads;
const engine: Engine = await openEngine(process.env);
const results: Record<string, unknown> = {};
for (const dtype of ["BF16", "F32"] as const) {
  const weights = randomCheckpoint(folder, shape110M, dtype);
  const loadSeconds: number[] = [];
  let model!: EngineModel;
  loadSeconds.push(await seconds(async () => (model = await engine.load(weights))));
  await serving(model);
  const ours: { prefill: number; decode: number }[] = [];
  const prototype: { prefill: number; decode: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    ours.push(await serving(model));
    const peer = dtype === "BF16" ? runPrototype() : null;
    if (peer) prototype.push(peer);
  }
  const trained = await training(model);
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  await model.close();
  const torch = runTorch(dtype);
  results[dtype] = {
    loadSeconds: median(loadSeconds),
    prefillTokensPerSecond: median(ours.map((run) => run.prefill)),
    decodeTokensPerSecond: median(ours.map((run) => run.decode)),
    trainTokensPerSecond: trained,
    peakBytes,
    ...(prototype.length > 0 && {
      prototype: {
        prefillTokensPerSecond: median(prototype.map((run) => run.prefill)),
        decodeTokensPerSecond: median(prototype.map((run) => run.decode)),
      },
    }),
    ...(torch && { torch }),
  };
  console.log(dtype, JSON.stringify(results[dtype], null, 2));
}

const revision = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim();
mkdirSync(dirname(options.out), { recursive: true });
writeFileSync(
  options.out,
  `${JSON.stringify(
    {
      what: "110M-shape LLaMA (768/12L/12H/ffn 2048, vocabulary 32000), random weights; LoRA r 8 on q and v, 4 packed rows of 512",
      hardware: { cpu: cpus()[0]?.model, cores: cpus().length, memoryBytes: totalmem() },
      engine: engine.description,
      node: process.version,
      threads: Number(options.threads),
      rounds,
      revision,
      date: new Date().toISOString().slice(0, 10),
      results,
    },
    null,
    2,
  )}\n`,
);
console.log(`written: ${options.out}`);
