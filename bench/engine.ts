// npm run bench: prefill, decode and LoRA training speed and peak memory of the native engine on a 110M-shape LLaMA with
// random weights, beside the peers that are named, in turn on the same cores. Prints what it finds, writes JSON.
//   --torch PYTHON        an interpreter with torch, transformers, peft and safetensors: trains the same rows (peers/torch_lora.py)
//   --prototype COMMAND   a program that serves the same shape in bf16 and prints "pp512 <tokens/s>" and "tg128 <tokens/s>"
//   --threads N (2)  --rounds N (5)  --out FILE
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import type { AdapterModule } from "../src/engine/engine.ts";
import { writeAdapterFolder } from "../src/llama/adapter/index.ts";
import { untilIdle } from "./idle.ts";
import type { Figures } from "./measure-engine.ts";
import { median } from "./median.ts";
import { provenance } from "./provenance.ts";
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
const folder = join(root, "build", "bench");
type Dtype = "BF16" | "F32";

/** Four rows of 512 token ids that are neither special nor constant; their values do not change the speed. */
const rows = Array.from({ length: 4 }, (_, row) =>
  Array.from({ length: 512 }, (_, i) => 300 + (((row * 512 + i) * 7919) % 30000)),
);

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

async function prepare(): Promise<void> {
  for (const dtype of ["BF16", "F32"] as const) randomCheckpoint(folder, shape110M, dtype);
  writeFileSync(join(folder, "rows.json"), JSON.stringify(rows));
  mkdirSync(join(folder, "adapter"), { recursive: true });
  const adapter = { modules: alpacaAdapter(), rank: 8, alpha: 16, dropout: 0 };
  const targetModules = ["q_proj", "v_proj"] as const;
  await writeAdapterFolder(join(folder, "adapter"), { ...adapter, targetModules, baseModel: "random" }, shape110M);
}

async function measureOurs(dtype: Dtype): Promise<Figures> {
  const program = join(root, "scripts", "bench.mjs");
  const child = fork(program, [join(root, "bench", "measure-engine.ts"), folder, dtype], {
    env: { ...process.env, LLAMA_ENGINE: "native", LLAMA_THREADS: options.threads },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`measure-engine.ts ended with exit code ${code}`);
  });
  const [figures] = await Promise.race([once(child, "message"), ended]);
  await ended.catch(() => {});
  return figures;
}

interface Peer {
  peer: string;
  prefillTokensPerSecond: number;
  trainTokensPerSecond: number;
  losses: number[];
  trainingPeakBytes: number;
}

function measureTorch(python: string, dtype: Dtype): Peer {
  const args = [join(root, "bench", "peers", "torch_lora.py"), folder, dtype, options.threads, "3"];
  return JSON.parse(execFileSync(python, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
}

function measurePrototype(command: string): { prefillTokensPerSecond: number; decodeTokensPerSecond: number } {
  const text = execFileSync("sh", ["-c", command], { encoding: "utf8" });
  const number = (name: string) => {
    const found = new RegExp(`${name} ([\\d.]+)`).exec(text);
    if (!found) throw new Error(`--prototype: its output has no "${name} <tokens/s>":\n${text}`);
    return Number(found[1]);
  };
  return { prefillTokensPerSecond: number("pp512"), decodeTokensPerSecond: number("tg128") };
}

/** Both trained the same rows from the same adapter: other losses mean other work, and a speed that says nothing. */
function checkSameWork(ours: Figures, torch: Peer, dtype: Dtype): void {
  const tolerance = dtype === "F32" ? 1e-4 : 1e-2; // bf16: torch rounds every activation, this engine a product's inputs
  ours.losses.forEach((loss, i) => {
    if (Math.abs(loss - torch.losses[i]!) > tolerance) {
      throw new Error(`${dtype}: the losses differ: ours ${ours.losses}, torch ${torch.losses}`);
    }
  });
}

type Numbers = Record<string, number | number[] | string>;

/** Field by field; what is no number (names, losses) is the same in every round. */
function medians<T extends object>(list: readonly T[]): Numbers {
  return Object.fromEntries(
    Object.entries(list[0]!).map(([key, value]) => [
      key,
      typeof value === "number" ? rounded(median(list.map((item) => item[key as keyof T] as number))) : value,
    ]),
  );
}

const rounded = (value: number): number => Number(value.toPrecision(5));

async function measure(dtype: Dtype) {
  const ours: Figures[] = [];
  const torch: Peer[] = [];
  const prototype: ReturnType<typeof measurePrototype>[] = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    const turns = [
      async () => ours.push(await measureOurs(dtype)),
      options.prototype && dtype === "BF16" ? () => prototype.push(measurePrototype(options.prototype!)) : null,
      options.torch ? () => torch.push(measureTorch(options.torch!, dtype)) : null,
    ].filter((turn) => turn !== null);
    // Every other round goes the other way round, so that a machine that warms up favours nobody.
    for (const turn of round % 2 === 0 ? turns : turns.toReversed()) {
      await untilIdle();
      await turn();
    }
  }
  for (const [i, peer] of torch.entries()) checkSameWork(ours[i]!, peer, dtype);
  /** Median over the rounds of our speed over the peer's in the same round. */
  const ratio = <K extends keyof Figures, P extends Record<K, number>>(peers: readonly P[], key: K): number =>
    rounded(median(peers.map((peer, i) => (ours[i]![key] as number) / peer[key])));
  return {
    ours: medians(ours),
    ...(prototype.length > 0 && {
      prototype: medians(prototype),
      timesPrototype: {
        prefill: ratio(prototype, "prefillTokensPerSecond"),
        decode: ratio(prototype, "decodeTokensPerSecond"),
      },
    }),
    ...(torch.length > 0 && {
      torch: medians(torch),
      timesTorch: {
        prefill: ratio(torch, "prefillTokensPerSecond"),
        train: ratio(torch, "trainTokensPerSecond"),
        trainingPeakBytes: ratio(torch, "trainingPeakBytes"),
      },
    }),
  };
}

await prepare();
const results: Record<string, unknown> = {};
for (const dtype of ["BF16", "F32"] as const) {
  results[dtype] = await measure(dtype);
  console.log(dtype, JSON.stringify(results[dtype], null, 2));
}
const report = {
  what: "110M-shape LLaMA (768/12L/12H/ffn 2048, vocabulary 32000), random weights: prefill of 512 tokens, decode of 128, LoRA training of r 8 on q and v on 4 packed rows of 512; medians over the rounds, programs in turn",
  ...provenance(),
  threads: Number(options.threads),
  rounds: Number(options.rounds),
  results,
};
mkdirSync(dirname(options.out), { recursive: true });
writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
console.log(`written: ${options.out}`);
