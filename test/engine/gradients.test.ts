import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { AdapterModule, Engine, ModelWeights, PackedBatch } from "../../src/engine/engine.ts";
import { openNativeEngine } from "../../src/engine/native/index.ts";
import { openTensorflowEngine } from "../../src/engine/tensorflow/index.ts";
import { randomAdapter, randomBatch, randomConfig, writeRandomModel } from "./random-model.ts";

const folder = mkdtempSync(join(tmpdir(), "gradients-"));
afterAll(() => rmSync(folder, { recursive: true }));

const engines: [Engine, Engine] = [
  await openNativeEngine(process.env),
  // LLAMA_DEVICE is the native engine's.
  await openTensorflowEngine({ LLAMA_TF_BACKEND: "cpu", ...process.env, LLAMA_DEVICE: "auto" }),
];

interface Run {
  loss: number;
  gradients: { a: Float32Array; b: Float32Array }[];
}

async function run(
  engine: Engine,
  weights: ModelWeights,
  modules: AdapterModule[],
  batches: PackedBatch[],
  dropout: number,
): Promise<Run> {
  const model = await engine.load(weights);
  const trainer = await model.createTrainer(await model.createAdapter(modules));
  let loss = 0;
  for (const [step, batch] of batches.entries()) {
    const sum = await trainer.accumulate(batch, 0.125, dropout ? { probability: dropout, seed: 77, step } : null);
    loss += sum.loss;
  }
  const gradients = await trainer.gradients();
  await model.close();
  return { loss, gradients };
}

/** |a - b| / |b| over a whole tensor. */
function relativeDifference(a: Float32Array, b: Float32Array): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

describe("native gradients equal automatic differentiation", () => {
  const qwen2 = { attentionBias: true };
  const qwen3 = { queryKeyNorm: true };
  for (const [seed, lengths, dropout, slidingWindow, kin] of [
    [1, [7, 1, 12], 0, null, {}],
    [2, [19], 0, 5, {}],
    [3, [5, 5, 3, 2], 0.3, null, {}],
    [4, [11, 6], 0, 3, {}],
    [5, [9, 4], 0.1, null, {}],
    [6, [16, 1], 0, null, {}],
    [7, [12, 5], 0, null, qwen2],
    [8, [13, 2], 0.1, 4, qwen3],
    [9, [6, 9], 0, null, { ...qwen2, ...qwen3 }],
  ] as const) {
    const config = { ...randomConfig(seed), slidingWindow, ...kin };
    const { hiddenSize, heads, kvHeads, headDim, layers } = config;
    it(`hidden ${hiddenSize}, ${heads}/${kvHeads} heads of ${headDim}, ${layers} layers, window ${slidingWindow}, rows ${lengths}, dropout ${dropout}, ${Object.keys(kin).join(" and ")}`, async () => {
      const weights = await writeRandomModel(folder, config, seed, "F32");
      const modules = randomAdapter(config, seed);
      const batches = [randomBatch(config, seed, lengths), randomBatch(config, seed + 100, [4, 3])];
      const native = await run(engines[0], weights, modules, batches, dropout);
      const reference = await run(engines[1], weights, modules, batches, dropout);
      expect(Math.abs(native.loss - reference.loss) / reference.loss).toBeLessThan(1e-5);
      for (const [i, { a, b }] of reference.gradients.entries()) {
        const place = `layer ${modules[i]!.layer} ${modules[i]!.linear}`;
        // float32 against float32: sums of a few hundred products in different orders agree to about 1e-6.
        expect(relativeDifference(native.gradients[i]!.a, a), `${place} A`).toBeLessThan(1e-4);
        expect(relativeDifference(native.gradients[i]!.b, b), `${place} B`).toBeLessThan(1e-4);
      }
    });
  }
});
