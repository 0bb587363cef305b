// One turn of bench/engine.ts in a process of its own, so that peak memory is that of one model and one kind of work.
//   FOLDER DTYPE serve|train      the figures are sent to the parent
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { EngineModel, PackedBatch } from "../src/engine/engine.ts";
import { openEngine } from "../src/engine/open.ts";
import { openAdapter } from "../src/llama/index.ts";
import { median } from "./median.ts";
import { randomCheckpoint, shape110M } from "./random-checkpoint.ts";

export interface ServingFigures {
  engine: string;
  loadSeconds: number;
  /** One prompt of 512 tokens. */
  prefillTokensPerSecond: number;
  /** 128 tokens, each drawn from the one before, from an empty cache. */
  decodeTokensPerSecond: number;
  peakBytes: number;
}

export interface TrainingFigures {
  engine: string;
  trainTokensPerSecond: number;
  /** Mean over the tokens of each optimiser step. */
  losses: number[];
  peakBytes: number;
}

const repeats = 3;
const greedy = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0, index: 0 };

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

async function serve(model: EngineModel, tokens: Int32Array) {
  const prefill: number[] = [];
  const decode: number[] = [];
  const sequence = await model.createSequence({ capacity: 1024 });
  // The first of each warms up.
  for (let i = 0; i <= repeats; i++) {
    sequence.truncate(0);
    prefill.push(await seconds(() => model.step([{ sequence, tokens: tokens.subarray(0, 512), sampling: greedy }])));
    sequence.truncate(0);
    decode.push(
      await seconds(async () => {
        let last = tokens.subarray(0, 1);
        for (let index = 0; index < 128; index++) {
          // As a generation does it: the engine need not wait for what it has drawn to come back.
          const sampling = { ...greedy, index };
          const [drawn] = await model.step([{ sequence, tokens: last, sampling, continuesUnless: Int32Array.of() }]);
          last = Int32Array.of(drawn!.token);
        }
      }),
    );
  }
  sequence.close();
  return {
    prefillTokensPerSecond: 512 / median(prefill.slice(1)),
    decodeTokensPerSecond: 128 / median(decode.slice(1)),
  };
}

async function train(model: EngineModel, rows: readonly (readonly number[])[], adapterFolder: string) {
  const { modules } = await openAdapter(adapterFolder, model.config);
  const trainer = await model.createTrainer(await model.createAdapter(modules));
  const offsets = [0];
  for (const row of rows) offsets.push(offsets.at(-1)! + row.length);
  const batch: PackedBatch = {
    tokens: Int32Array.from(rows.flat()),
    targets: Int32Array.from(rows.flatMap((row) => [...row.slice(1), -100])),
    offsets: Int32Array.from(offsets),
  };
  const step = { learningRate: 3e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 };
  const targets = batch.tokens.length - rows.length;
  const taken: number[] = [];
  const losses: number[] = [];
  for (let i = 0; i <= repeats; i++) {
    taken.push(
      await seconds(async () => {
        const { loss } = await trainer.accumulate(batch, 1 / targets);
        await trainer.update(step);
        losses.push(loss / targets);
      }),
    );
  }
  await trainer.close();
  return { trainTokensPerSecond: batch.tokens.length / median(taken.slice(1)), losses };
}

const [folder, dtype, work] = process.argv.slice(2) as [string, "BF16" | "F32", "serve" | "train"];
const rows = JSON.parse(readFileSync(join(folder, "rows.json"), "utf8")) as number[][];
const weights = randomCheckpoint(folder, shape110M, dtype);
const engine = await openEngine(process.env);
let model!: EngineModel;
const loadSeconds = await seconds(async () => {
  model = await engine.load(weights);
});
const done =
  work === "serve"
    ? { loadSeconds, ...(await serve(model, Int32Array.from(rows.flat()))) }
    : await train(model, rows, join(folder, "adapter"));
const peakBytes = process.resourceUsage().maxRSS * 1024;
await model.close();
process.send!({ engine: engine.description, ...done, peakBytes } satisfies ServingFigures | TrainingFigures);
