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
import type { ServingFigures, TrainingFigures } from "./measure-engine.ts";
import { median } from "./median.ts";
import { provenance } from "./provenance.ts";
import { randomCheckpoint, shape110M } from "./random-checkpoint.ts";
import { otherPrograms, undisturbed } from "./undisturbed.ts";

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

async function ours<Figures>(dtype: Dtype, work: "serve" | "train"): Promise<Figures> {
  const program = join(root, "scripts", "bench.mjs");
  const child = fork(program, [join(root, "bench", "measure-engine.ts"), folder, dtype, work], {
    env: { ...process.env, LLAMA_ENGINE: "native", LLAMA_THREADS: options.threads },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  let figures: Figures | undefined;
  child.on("message", (message) => {
    figures = message as Figures;
  });
  const [code] = await once(child, "exit");
  if (figures === undefined) throw new Error(`measure-engine.ts ended with exit code ${code}`);
  return figures;
}

interface TorchFigures {
  peer: string;
  trainTokensPerSecond: number;
  losses: number[];
  peakBytes: number;
}

function torch(python: string, dtype: Dtype): TorchFigures {
  const args = [join(root, "bench", "peers", "torch_lora.py"), folder, dtype, options.threads, "3"];
  return JSON.parse(execFileSync(python, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
}

function prototype(command: string): { prefillTokensPerSecond: number; decodeTokensPerSecond: number } {
  const text = execFileSync("sh", ["-c", command], { encoding: "utf8" });
  const number = (name: string) => {
    const found = new RegExp(`${name} ([\\d.]+)`).exec(text);
    if (!found) throw new Error(`--prototype: its output has no "${name} <tokens/s>":\n${text}`);
    return Number(found[1]);
  };
  return { prefillTokensPerSecond: number("pp512"), decodeTokensPerSecond: number("tg128") };
}

/** Both trained the same rows from the same adapter: other losses mean other work, and a speed that says nothing. */
function checkSameWork(dtype: Dtype, { losses }: TrainingFigures, peer: TorchFigures): void {
  const tolerance = dtype === "F32" ? 1e-4 : 1e-2; // bf16: torch rounds every activation, this engine a product's inputs
  if (losses.every((loss, i) => Math.abs(loss - peer.losses[i]!) <= tolerance)) return;
  throw new Error(`${dtype}: the losses differ: ours ${losses}, torch ${peer.losses}`);
}

/** Ours and the peer's figures, round by round in turn; every other round the other way round, so that a drift favours nobody. */
async function inTurn<Ours, Peer>(measureOurs: () => Promise<Ours>, measurePeer: (() => Peer) | null) {
  const found: { ours: Ours[]; peer: Peer[] } = { ours: [], peer: [] };
  const turns = [
    async () => found.ours.push(await undisturbed(measureOurs)),
    async () => measurePeer && found.peer.push(await undisturbed(measurePeer)),
  ];
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await turn();
  }
  return found;
}

const rounded = (value: number): number => Number(value.toPrecision(5));

/** Field by field; what is no number (names, losses) is the same in every round. */
function medians<T extends object>(list: readonly T[]): Record<string, unknown> {
  const values = (key: string) => list.map((item) => item[key as keyof T] as number);
  return Object.fromEntries(
    Object.entries(list[0]!).map(([key, value]) => [
      key,
      typeof value === "number" ? rounded(median(values(key))) : value,
    ]),
  );
}

/** How many times the peer's figure ours is: the median of the rounds' ratios, and all of them. */
function ratio<K extends string>(key: K, ours: readonly Record<K, number>[], peer: readonly Record<K, number>[]) {
  const ratios = ours.map((figures, i) => rounded(figures[key] / peer[i]![key]));
  return { median: median(ratios), rounds: ratios };
}

async function measureServing(dtype: Dtype) {
  const command = dtype === "BF16" ? options.prototype : undefined;
  const found = await inTurn(() => ours<ServingFigures>(dtype, "serve"), command ? () => prototype(command) : null);
  if (found.peer.length === 0) return { ours: medians(found.ours) };
  return {
    ours: medians(found.ours),
    prototype: medians(found.peer),
    timesPrototype: {
      prefill: ratio("prefillTokensPerSecond", found.ours, found.peer),
      decode: ratio("decodeTokensPerSecond", found.ours, found.peer),
    },
  };
}

async function measureTraining(dtype: Dtype) {
  const python = options.torch;
  const found = await inTurn(() => ours<TrainingFigures>(dtype, "train"), python ? () => torch(python, dtype) : null);
  if (found.peer.length === 0) return { ours: medians(found.ours) };
  for (const [i, peer] of found.peer.entries()) checkSameWork(dtype, found.ours[i]!, peer);
  return {
    ours: medians(found.ours),
    torch: medians(found.peer),
    timesTorch: {
      train: ratio("trainTokensPerSecond", found.ours, found.peer),
      peakBytes: ratio("peakBytes", found.ours, found.peer),
    },
  };
}

const measuredOn = provenance();
await prepare();
const results: Record<string, unknown> = {};
for (const dtype of ["BF16", "F32"] as const) {
  results[dtype] = { serving: await measureServing(dtype), training: await measureTraining(dtype) };
  console.log(dtype, JSON.stringify(results[dtype], null, 2));
}
const report = {
  what: "110M-shape LLaMA (768/12L/12H/ffn 2048, vocabulary 32000), random weights: prefill of 512 tokens, decode of 128, LoRA training of r 8 on q and v on 4 packed rows of 512; medians over the rounds, programs in turn",
  ...measuredOn,
  threads: Number(options.threads),
  rounds: Number(options.rounds),
  ...(otherPrograms.length > 0 && {
    otherPrograms: { medianShare: rounded(median(otherPrograms)), largestShare: rounded(Math.max(...otherPrograms)) },
  }),
  results,
};
mkdirSync(dirname(options.out), { recursive: true });
writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
console.log(`written: ${options.out}`);
