import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine, EngineAdapter, EngineModel, EngineTrainer } from "../../src/engine/engine.ts";
import { openBackend } from "../../src/engine/tensorflow/backend.ts";
import { openTensorflowEngine } from "../../src/engine/tensorflow/index.ts";
import { openCheckpoint } from "../../src/llama/checkpoint/open.ts";
import { referenceData } from "../reference-data.mjs";
import { randomAdapter, randomBatch, randomConfig, randomIntegers, writeRandomModel } from "./random-model.ts";

const folder = mkdtempSync(join(tmpdir(), "tensorflow-engine-"));
// The plain JavaScript backend is everywhere; LLAMA_TF_BACKEND runs the same tests on another. LLAMA_DEVICE is the native
// engine's.
const env = { LLAMA_TF_BACKEND: "cpu", ...process.env, LLAMA_DEVICE: "auto" };
const greedy = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0, index: 0 };
const config = { ...randomConfig(3), slidingWindow: 5 };

let engine: Engine;
let model: EngineModel;
let tensorsBefore: number;
beforeAll(async () => {
  const { tf } = await openBackend(env);
  tensorsBefore = tf.memory().numTensors;
  engine = await openTensorflowEngine(env);
  model = await engine.load(await writeRandomModel(folder, config, 3, "F32"));
});
afterAll(async () => {
  await model.close();
  rmSync(folder, { recursive: true });
  const { tf } = await openBackend(env);
  expect(tf.memory().numTensors).toBe(tensorsBefore);
});

const argmax = (values: Float32Array): number => values.indexOf(Math.max(...values));

describe("the TensorFlow engine", () => {
  it("draws with a cache what the logits of the whole sequence say", async () => {
    const tokens = randomIntegers(12, config.vocabSize, 1, 1);
    const adapter = await model.createAdapter(randomAdapter(config, 5));
    const whole = await model.logits(tokens, adapter);
    const expected = Array.from(tokens, (_, i) =>
      argmax(whole.subarray(i * config.vocabSize, (i + 1) * config.vocabSize)),
    );
    const sequence = await model.createSequence({ capacity: 16, adapter });
    const first = await model.step([{ sequence, tokens: tokens.subarray(0, 5), sampling: greedy }]);
    const drawn = [first[0]!.token];
    for (let i = 5; i < 12; i++) {
      const [result] = await model.step([{ sequence, tokens: tokens.subarray(i, i + 1), sampling: greedy }]);
      drawn.push(result!.token);
    }
    expect(drawn).toEqual(expected.slice(4));
    sequence.truncate(5);
    const [again] = await model.step([{ sequence, tokens: tokens.subarray(5, 6), sampling: greedy }]);
    expect(again!.token).toBe(expected[5]);
    sequence.close();
    await adapter.close();
  });

  it("fails the one request that is wrong, the others bit for bit as alone", async () => {
    const prompt = randomIntegers(5, config.vocabSize, 1, 2);
    const huge = randomAdapter(config, 5).map((module) => ({ ...module, b: module.b.map(() => 1e38), scale: 1e6 }));
    const adapter = await model.createAdapter(huge);
    const serve = async (beside: boolean) => {
      const open = (capacity: number, of: EngineAdapter | null = null) =>
        model.createSequence({ capacity, adapter: of });
      const victim = await open(16);
      const drawn: number[] = [];
      for (let tokens = prompt; drawn.length < 4; tokens = Int32Array.of(drawn.at(-1)!)) {
        const own = { sequence: victim, tokens, sampling: greedy };
        const wrong = [
          { sequence: await open(16, adapter), tokens: prompt, sampling: greedy },
          { sequence: await open(4), tokens: prompt, sampling: greedy },
          { sequence: await open(16), tokens: Int32Array.of(-1), sampling: greedy },
          { sequence: await open(16), tokens: prompt, sampling: { ...greedy, topK: 1e17 } },
        ];
        const results = await model.step(beside ? [...wrong, own, own] : [own]);
        const codes = results.map(({ error }) => (error as { code?: string } | undefined)?.code);
        const refused = "ENGINE_ARGUMENT";
        expect(codes).toEqual(
          beside ? ["LOGITS_NOT_FINITE", refused, refused, refused, undefined, refused] : [undefined],
        );
        drawn.push(results[beside ? 4 : 0]!.token);
        expect(wrong[0]!.sequence.length).toBe(0);
        for (const { sequence } of wrong) sequence.close();
      }
      victim.close();
      return drawn;
    };
    expect(await serve(true)).toEqual(await serve(false));
    await adapter.close();
  });

  it("gives gradients that central differences confirm, across packed rows", async () => {
    const modules = randomAdapter(config, 7, ["q_proj", "down_proj"], 2);
    const batch = randomBatch(config, 9, [4, 1, 6]);
    const lossWith = async (changed: typeof modules): Promise<number> => {
      const adapter = await model.createAdapter(changed);
      const trainer = await model.createTrainer(adapter);
      const { loss } = await trainer.evaluate(batch);
      await trainer.close();
      await adapter.close();
      return loss;
    };
    const adapter = await model.createAdapter(modules);
    const trainer = await model.createTrainer(adapter);
    await trainer.accumulate(batch, 1);
    const gradients = await trainer.gradients();
    await trainer.close();
    await adapter.close();
    for (const [index, key] of [
      [0, "a"],
      [1, "b"],
      [3, "a"],
    ] as const) {
      const element = 3;
      const step = 2e-2;
      const shifted = (by: number) =>
        modules.map((module, i) =>
          i === index ? { ...module, [key]: module[key].with(element, module[key][element]! + by) } : module,
        );
      const difference = ((await lossWith(shifted(step))) - (await lossWith(shifted(-step)))) / (2 * step);
      // float32 losses of about 20 differ by rounding of 1e-6 relative; divided by the step that is about 1e-3.
      expect(Math.abs(difference - gradients[index]![key][element]!)).toBeLessThan(5e-3);
    }
  });

  it("refuses to be one of several ranks", async () => {
    const adapter = await model.createAdapter(randomAdapter(config, 7, ["v_proj"]));
    const link = { kind: "tcp", host: "127.0.0.1", port: 1 } as const;
    const ranks = { rank: 0, size: 2, localRank: 0, link, timeoutSeconds: 1 };
    const refused = { code: "DISTRIBUTED_UNAVAILABLE" };
    await expect(model.createTrainer(adapter, { ranks })).rejects.toMatchObject(refused);
    await adapter.close();
  });

  it("lowers the loss by updating the adapter, and starts each step from zero gradients", async () => {
    const adapter = await model.createAdapter(randomAdapter(config, 7, ["v_proj"]));
    const trainer = await model.createTrainer(adapter);
    const batch = randomBatch(config, 9, [6, 5]);
    const step = { learningRate: 0.05, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 };
    const losses: number[] = [];
    for (let i = 0; i < 5; i++) {
      const { loss, targets } = await trainer.accumulate(batch, 0.1);
      losses.push(loss / targets);
      await trainer.update(step);
    }
    expect(losses.at(-1)).toBeLessThan(losses[0]! - 0.1);
    expect((await trainer.gradients()).every(({ a, b }) => a.every((x) => x === 0) && b.every((x) => x === 0))).toBe(
      true,
    );
    await trainer.close();
    await adapter.close();
  });

  it("goes on from its state in a new trainer with the same bits", async () => {
    const step = { learningRate: 0.05, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1, maxGradNorm: 1 };
    const advance = async (trainer: EngineTrainer, numbers: readonly number[]) => {
      for (const number of numbers) {
        await trainer.accumulate(randomBatch(config, number, [6, 5]), 0.1, { probability: 0.3, seed: 5, step: number });
        await trainer.update(step);
      }
    };
    const adapter = await model.createAdapter(randomAdapter(config, 7, ["v_proj"]));
    const trainer = await model.createTrainer(adapter);
    await advance(trainer, [0, 1]);
    const resumed = await model.createAdapter(await adapter.read());
    const second = await model.createTrainer(resumed);
    const state = await trainer.optimizerState();
    await second.restoreOptimizer(state);
    for (const one of [trainer, second]) await advance(one, [2]);
    expect(await resumed.read()).toEqual(await adapter.read());
    const wrong = second.restoreOptimizer({ ...state, second: [] });
    await expect(wrong).rejects.toMatchObject({ code: "ENGINE_ARGUMENT" });
    for (const one of [trainer, second, adapter, resumed]) await one.close();
  });

  it("says why a backend that was asked for does not load", async () => {
    const failing = openTensorflowEngine({ LLAMA_TF_BACKEND: "node", LLAMA_TF_MODULE: join(folder, "nothing") });
    await expect(failing).rejects.toMatchObject({
      code: "ENGINE_UNAVAILABLE",
      message: expect.stringContaining("node:"),
    });
  });

  it("runs on WebAssembly", async () => {
    const wasm = await openTensorflowEngine({ LLAMA_TF_BACKEND: "wasm" });
    expect(wasm.description).toContain("wasm");
    await openBackend(env);
  });
});

describe.skipIf(!existsSync(referenceData))("a trained LLaMA (only where there are reference data)", () => {
  it("gives the reference's logits within 1e-4 and its greedy tokens", async () => {
    const golden = JSON.parse(readFileSync(join(referenceData, "golden/forward.json"), "utf8"));
    const checkpoint = await openCheckpoint(join(referenceData, "data/stories260k/hf"));
    const real = await engine.load(checkpoint.weights);
    for (const item of golden) {
      const ids = Int32Array.from(item.ids as number[]);
      const logits = (await real.logits(ids)).subarray(-checkpoint.config.vocabSize);
      const worst = Math.max(...logits.map((value, i) => Math.abs(value - item.last_logits[i])));
      expect(worst).toBeLessThan(1e-4);
      const sequence = await real.createSequence({ capacity: 200 });
      let tokens = ids;
      const drawn: number[] = [];
      for (let i = 0; i < 20; i++) {
        const [result] = await real.step([{ sequence, tokens, sampling: greedy }]);
        drawn.push(result!.token);
        tokens = Int32Array.of(result!.token);
      }
      sequence.close();
      expect(drawn).toEqual(item.greedy_ids.slice(ids.length, ids.length + 20));
    }
    await real.close();
  });
});
