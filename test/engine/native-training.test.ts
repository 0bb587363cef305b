import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LinearName, type LlamaConfig, linearNames } from "../../src/engine/config.ts";
import type {
  AdapterModule,
  Dropout,
  Engine,
  EngineModel,
  EngineTrainer,
  OptimizerStep,
  PackedBatch,
} from "../../src/engine/engine.ts";
import { openNativeEngine } from "../../src/engine/native/index.ts";
import { randomAdapter, randomBatch, randomConfig, randomValues, writeRandomModel } from "./random-model.ts";

/** With LLAMA_DEVICE=cuda these tests are the GPU's. */
const device = process.env.LLAMA_DEVICE || "cpu";
const folder = mkdtempSync(join(tmpdir(), "llama-training-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Tensor = "a" | "b";

/** Summed loss with one module's tensor moved by `amount` along `direction`. */
async function lossAt(
  model: EngineModel,
  modules: readonly AdapterModule[],
  batch: PackedBatch,
  dropout: Dropout | null,
  change: { module: number; tensor: Tensor; direction: Float32Array; amount: number },
): Promise<number> {
  const moved = modules.map((module, i) => {
    if (i !== change.module) return module;
    const values = module[change.tensor].map((value, k) => value + change.amount * change.direction[k]!);
    return { ...module, [change.tensor]: values };
  });
  const adapter = await model.createAdapter(moved);
  const trainer = await model.createTrainer(adapter);
  // accumulate() rather than evaluate(): it is the one with dropout.
  const { loss } = await trainer.accumulate(batch, 1, dropout);
  await trainer.close();
  await adapter.close();
  return loss;
}

/** Updates by batches of these numbers, with dropout. */
async function steps(trainer: EngineTrainer, config: LlamaConfig, numbers: readonly number[]): Promise<void> {
  const update = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1, maxGradNorm: 1 };
  for (const number of numbers) {
    await trainer.accumulate(randomBatch(config, number, [7, 4]), 0.1, { probability: 0.3, seed: 5, step: number });
    await trainer.update(update);
  }
}

const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
const norm = (x: Float32Array): number => Math.sqrt(dot(x, x));

for (const isa of ["reference", "auto"]) {
  describe(`native training (${isa})`, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await openNativeEngine({ LLAMA_DEVICE: device, LLAMA_ISA: isa, LLAMA_THREADS: "1" });
    });

    const load = async (seed: number) => {
      const config = randomConfig(seed);
      return { config, model: await engine.load(await writeRandomModel(join(folder, isa), config, seed, "F32")) };
    };

    const cases: { seed: number; names: readonly LinearName[]; dropout: Dropout | null; layers?: number[] }[] = [
      { seed: 1, names: linearNames, dropout: null },
      { seed: 2, names: linearNames, dropout: { probability: 0.3, seed: 2 ** 35 + 1, step: 4 } },
      { seed: 3, names: ["q_proj", "v_proj"], dropout: null },
      { seed: 4, names: ["k_proj", "down_proj"], dropout: { probability: 0.1, seed: 5, step: 0 }, layers: [1] },
      { seed: 5, names: ["gate_proj", "o_proj"], dropout: null, layers: [1] },
      { seed: 6, names: ["down_proj"], dropout: null },
      { seed: 8, names: ["up_proj"], dropout: null },
    ];
    for (const { seed, names, dropout, layers } of cases) {
      const label = `${names.join(", ")}${dropout ? " with dropout" : ""}${layers ? ` in layer ${layers}` : ""}`;
      it(`has the gradients of central differences: ${label}`, async () => {
        const { config, model } = await load(seed);
        const modules = randomAdapter(config, seed, names).filter(({ layer }) => !layers || layers.includes(layer));
        const batch = randomBatch(config, seed, [7, 1, 12, 5]);
        const trainer = await model.createTrainer(await model.createAdapter(modules));
        await trainer.accumulate(batch, 1, dropout);
        const gradients = await trainer.gradients();
        for (const [module, gradient] of gradients.entries()) {
          for (const tensor of ["a", "b"] as const) {
            // Along the gradient the difference is as large as it gets; the random half turns it where any error shows.
            const length = norm(gradient[tensor]);
            expect(length).toBeGreaterThan(1e-3);
            const random = randomValues(gradient[tensor].length, seed, 3000 + module * 2 + Number(tensor === "b"));
            const sum = random.map((value, k) => value / norm(random) + gradient[tensor][k]! / length);
            const direction = sum.map((value) => value / norm(sum));
            const amount = 1e-2;
            const change = { module, tensor, direction };
            const plus = await lossAt(model, modules, batch, dropout, { ...change, amount });
            const minus = await lossAt(model, modules, batch, dropout, { ...change, amount: -amount });
            // Losses of size 100 are exact to about 1e-5, divided by 2e-2; the third derivative adds about 1e-4 of the length.
            const error = (plus - minus) / (2 * amount) - dot(gradient[tensor], direction);
            expect(Math.abs(error)).toBeLessThan(2e-3 + 2e-3 * length);
          }
        }
        await model.close();
      });
    }

    it("gives the same bits where layers are computed again instead of kept", async () => {
      const config = randomConfig(2);
      const weights = await writeRandomModel(join(folder, isa), config, 2, "F32");
      const dropout = { probability: 0.3, seed: 9, step: 1 };
      const results: { loss: number; gradients: unknown }[] = [];
      for (const layers of ["0", "1", String(config.layers)]) {
        const env = { LLAMA_ISA: isa, LLAMA_THREADS: "1", LLAMA_DEVICE: device, LLAMA_CHECKPOINTED_LAYERS: layers };
        const model = await (await openNativeEngine(env)).load(weights);
        const trainer = await model.createTrainer(await model.createAdapter(randomAdapter(config, 2)));
        const { loss } = await trainer.accumulate(randomBatch(config, 4, [9, 3, 6]), 1, dropout);
        results.push({ loss, gradients: await trainer.gradients() });
        await model.close();
      }
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
    });

    it("adds micro-batches up to the packed whole, and evaluate() agrees with accumulate()", async () => {
      const { config, model } = await load(2);
      const modules = randomAdapter(config, 2);
      const lengths = [9, 4, 13];
      const whole = randomBatch(config, 3, lengths);
      const trainer = await model.createTrainer(await model.createAdapter(modules));
      const together = await trainer.accumulate(whole, 0.25);
      const expected = await trainer.gradients();
      const evaluated = await trainer.evaluate(whole);
      // Sums of the same float32 terms.
      expect(evaluated.loss).toBeCloseTo(together.loss, 4);
      expect(evaluated.targets).toBe(together.targets);
      await trainer.close();

      const pieces = await model.createTrainer(await model.createAdapter(modules));
      const sum = { loss: 0, targets: 0 };
      for (const row of lengths.keys()) {
        const [begin, end] = [whole.offsets[row]!, whole.offsets[row + 1]!];
        const piece = {
          tokens: whole.tokens.slice(begin, end),
          targets: whole.targets.slice(begin, end),
          offsets: Int32Array.of(0, end - begin),
        };
        const { loss, targets } = await pieces.accumulate(piece, 0.25);
        sum.loss += loss;
        sum.targets += targets;
      }
      expect(sum.targets).toBe(together.targets);
      expect(sum.loss).toBeCloseTo(together.loss, 3);
      for (const [i, gradient] of (await pieces.gradients()).entries()) {
        for (const tensor of ["a", "b"] as const) {
          const difference = gradient[tensor].map((value, k) => value - expected[i]![tensor][k]!);
          expect(norm(difference)).toBeLessThan(1e-5 * norm(expected[i]![tensor]));
        }
      }
      await model.close();
    });

    it("goes on from its state in a new trainer with the same bits", async () => {
      const { config, model } = await load(3);
      const adapter = await model.createAdapter(randomAdapter(config, 3));
      const trainer = await model.createTrainer(adapter);
      await steps(trainer, config, [0, 1]);
      const state = await trainer.optimizerState();
      expect(state).toMatchObject({ steps: 2, lossScale: { value: 1, steadySteps: 0 } });
      const resumed = await model.createAdapter(await adapter.read());
      const second = await model.createTrainer(resumed);
      await second.restoreOptimizer(state);
      for (const one of [trainer, second]) await steps(one, config, [2, 3]);
      expect(await resumed.read()).toEqual(await adapter.read());
      const short = { ...state, first: state.first.slice(1) };
      const negative = { ...state, second: state.second.map(({ a, b }) => ({ a: a.map(() => -1), b })) };
      for (const wrong of [short, negative, { ...state, lossScale: { value: 2, steadySteps: 0 } }]) {
        await expect(second.restoreOptimizer(wrong)).rejects.toMatchObject({ code: "ENGINE_ARGUMENT" });
      }
      await model.close();
    });

    it("makes the AdamW step of the paper, with clipping and decoupled decay", async () => {
      const { config, model } = await load(3);
      const modules = randomAdapter(config, 3, ["v_proj", "down_proj"]);
      const adapter = await model.createAdapter(modules);
      const trainer = await model.createTrainer(adapter);
      const settings: OptimizerStep = {
        learningRate: 0.01,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-6,
        weightDecay: 0.1,
        maxGradNorm: 0.5,
      };
      const state = modules.flatMap(({ a, b }) =>
        [a, b].map((values) => ({
          values: Float64Array.from(values),
          m: new Float64Array(values.length),
          v: new Float64Array(values.length),
        })),
      );
      for (let step = 1; step <= 3; step++) {
        await trainer.accumulate(randomBatch(config, 10 + step, [11, 6]), 0.1);
        const gradients = (await trainer.gradients()).flatMap(({ a, b }) => [a, b]);
        const { gradNorm } = await trainer.update(settings);
        const expectedNorm = Math.sqrt(gradients.reduce((sum, gradient) => sum + dot(gradient, gradient), 0));
        expect(Math.abs(gradNorm / expectedNorm - 1)).toBeLessThan(1e-5);
        expect(expectedNorm).toBeGreaterThan(settings.maxGradNorm);
        const factor = Math.min(1, settings.maxGradNorm / (expectedNorm + 1e-6));
        for (const [i, { values, m, v }] of state.entries()) {
          for (let k = 0; k < values.length; k++) {
            const g = gradients[i]![k]! * factor;
            m[k] = settings.beta1 * m[k]! + (1 - settings.beta1) * g;
            v[k] = settings.beta2 * v[k]! + (1 - settings.beta2) * g * g;
            const direction =
              m[k]! /
              (1 - settings.beta1 ** step) /
              (Math.sqrt(v[k]! / (1 - settings.beta2 ** step)) + settings.epsilon);
            values[k]! -= settings.learningRate * (settings.weightDecay * values[k]! + direction);
          }
        }
      }
      const trained = (await adapter.read()).flatMap(({ a, b }) => [a, b]);
      for (const [i, { values }] of state.entries()) {
        // Three steps in float32: some 1e-7 each of values below 1, plus rounding in a direction that is a quotient.
        for (const [k, value] of values.entries()) expect(Math.abs(trained[i]![k]! - value)).toBeLessThan(3e-6);
      }
      expect((await trainer.gradients()).every(({ a, b }) => a.every((x) => x === 0) && b.every((x) => x === 0))).toBe(
        true,
      );
      await model.close();
    });

    it("is the same bit for bit when run again, and serves the trained adapter at once", async () => {
      const { config, model } = await load(4);
      const run = async () => {
        const adapter = await model.createAdapter(randomAdapter(config, 4));
        const trainer = await model.createTrainer(adapter);
        const step = { learningRate: 1e-2, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 };
        const before = await trainer.evaluate(randomBatch(config, 1, [20, 9]));
        for (let i = 0; i < 10; i++) {
          await trainer.accumulate(randomBatch(config, 1, [20, 9]), 0.05, { probability: 0.05, seed: 1, step: i });
          await trainer.update(step);
        }
        const after = await trainer.evaluate(randomBatch(config, 1, [20, 9]));
        expect(after.loss).toBeLessThan(before.loss);
        return { tensors: await adapter.read(), logits: await model.logits(Int32Array.of(1, 2, 3), adapter) };
      };
      const first = await run();
      expect(await run()).toEqual(first);
      await model.close();
    });

    it("counts a batch without targets as nothing", async () => {
      const { config, model } = await load(5);
      const trainer = await model.createTrainer(await model.createAdapter(randomAdapter(config, 5)));
      const batch = randomBatch(config, 1, [6]);
      const empty = { ...batch, targets: batch.targets.map(() => -100) };
      expect(await trainer.accumulate(empty, 1)).toEqual({ loss: 0, targets: 0 });
      expect(await trainer.evaluate(empty)).toEqual({ loss: 0, targets: 0 });
      expect(
        await trainer.update({
          learningRate: 0,
          beta1: 0.9,
          beta2: 0.9,
          epsilon: 1e-8,
          weightDecay: 0,
          maxGradNorm: 1,
        }),
      ).toEqual({
        gradNorm: 0,
      });
      await model.close();
    });

    it("refuses batches outside the limits", async () => {
      const { config, model } = await load(6);
      const trainer = await model.createTrainer(await model.createAdapter(randomAdapter(config, 6)));
      const good = randomBatch(config, 1, [6, 3]);
      const refused = { code: "ENGINE_ARGUMENT" };
      const long = new Int32Array(config.maxPositionEmbeddings + 1);
      for (const [wrong, what] of [
        [{ targets: good.targets.slice(1) }, "differ in length"],
        [{ targets: Int32Array.of() }, "differ in length"],
        [{ targets: good.targets.map(() => config.vocabSize) }, `target 0 is ${config.vocabSize}`],
        [{ targets: good.targets.map((target, i) => (i === 4 ? -1 : target)) }, "target 4 is -1"],
        [{ offsets: Int32Array.of(0, 20, 9) }, "offsets decrease"],
        [{ offsets: Int32Array.of(0, 6) }, "number of tokens"],
        [{ offsets: Int32Array.of() }, "number of tokens"],
        [{ tokens: good.tokens.map(() => -5) }, "token 0 is -5"],
        [{ tokens: long, targets: long, offsets: Int32Array.of(0, long.length) }, `row 0 has ${long.length} tokens`],
        [{ tokens: new Float32Array(9) as unknown as Int32Array }, "batch.tokens is not an Int32Array"],
      ] as const) {
        const rejection = { code: "ENGINE_ARGUMENT", message: expect.stringContaining(what) };
        await expect(trainer.accumulate({ ...good, ...wrong }, 1)).rejects.toMatchObject(rejection);
        await expect(trainer.evaluate({ ...good, ...wrong })).rejects.toMatchObject(rejection);
      }
      for (const dropout of [
        { probability: -0.1, seed: 0, step: 0 },
        { probability: 0.5, seed: -1, step: 0 },
        { probability: 0.5, seed: 0, step: 2 ** 32 },
      ]) {
        await expect(trainer.accumulate(good, 1, dropout)).rejects.toMatchObject(refused);
      }
      await expect(trainer.accumulate(good, Number.NaN)).rejects.toMatchObject(refused);
      await expect(trainer.accumulate(good, 1, { probability: 1, seed: 0, step: 0 })).rejects.toMatchObject(refused);
      expect((await trainer.accumulate(good, 1)).targets).toBeGreaterThan(0);
      await model.close();
    });
  });
}
