import { mkdtempSync, rmSync } from "node:fs";
import { truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LlamaConfig } from "../../src/engine/config.ts";
import type {
  Engine,
  EngineAdapter,
  EngineModel,
  EngineSequence,
  ModelWeights,
  Sampling,
  TensorSource,
} from "../../src/engine/engine.ts";
import { openNativeEngine } from "../../src/engine/native/index.ts";
import { sampleToken } from "../../src/engine/sampling.ts";
import { randomAdapter, randomConfig, randomIntegers, writeRandomModel } from "./random-model.ts";

/** With LLAMA_DEVICE=cuda these tests are the GPU's. */
const device = process.env.LLAMA_DEVICE || "cpu";
const greedy: Sampling = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0, index: 0 };
const folder = mkdtempSync(join(tmpdir(), "llama-native-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Greedy continuation, one token a step, the prompt first. */
async function greedyTokens(model: EngineModel, sequence: EngineSequence, prompt: Int32Array, count: number) {
  const tokens: number[] = [];
  let next = prompt;
  for (let i = 0; i < count; i++) {
    const [result] = await model.step([{ sequence, tokens: next, sampling: greedy }]);
    tokens.push(result!.token);
    next = Int32Array.of(result!.token);
  }
  return tokens;
}

/** What greedyTokens must give: the best token of the last position, the whole sequence computed anew each time. */
async function greedyWithoutCache(model: EngineModel, prompt: Int32Array, count: number, adapter?: EngineAdapter) {
  const tokens = Array.from(prompt);
  for (let i = 0; i < count; i++) {
    const logits = await model.logits(Int32Array.from(tokens), adapter);
    tokens.push(sampleToken(logits.subarray(-model.config.vocabSize), tokens, greedy));
  }
  return tokens.slice(prompt.length);
}

for (const isa of ["reference", "auto"]) {
  describe(`native engine (${isa})`, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await openNativeEngine({ LLAMA_DEVICE: device, LLAMA_ISA: isa, LLAMA_THREADS: "1" });
    });

    async function open(seed: number, change: Partial<LlamaConfig> = {}, dtype: "F32" | "F16" | "BF16" = "F32") {
      const config = { ...randomConfig(seed), ...change };
      const model = await engine.load(await writeRandomModel(join(folder, isa), config, seed, dtype));
      const prompt = (length: number, stream = 0) => randomIntegers(length, config.vocabSize, seed, 500 + stream);
      return { config, model, prompt };
    }

    for (const [seed, dtype] of [
      [1, "F32"],
      [2, "F32"],
      [3, "F32"],
      [4, "F32"],
      [5, "F16"],
      [6, "BF16"],
    ] as const) {
      // 16-bit models keep keys and values in 16 bits, so only float32 caches must agree to the last token.
      it(`continues from the cache as without it (seed ${seed}, ${dtype})`, async () => {
        const { model, prompt } = await open(seed, {}, dtype);
        const sequence = await model.createSequence({ capacity: 40 });
        const count = dtype === "F32" ? 12 : 1;
        const tokens = await greedyTokens(model, sequence, prompt(9), count);
        expect(tokens).toEqual(await greedyWithoutCache(model, prompt(9), count));
        expect(sequence.length).toBe(9 + count - 1);
        await model.close();
      });
    }

    it("gives every sequence of a batch what it gets alone, whatever its adapter", async () => {
      const { config, model, prompt } = await open(7);
      const adapters = [
        null,
        await model.createAdapter(randomAdapter(config, 1)),
        await model.createAdapter(randomAdapter(config, 2, ["q_proj", "v_proj", "up_proj"], 5)),
      ];
      const draws: number[][] = [];
      for (const together of [true, false]) {
        const sequences: EngineSequence[] = [];
        for (let i = 0; i < 6; i++) {
          sequences.push(await model.createSequence({ capacity: 64, adapter: adapters[i % 3]! }));
        }
        const step = (inputs: Int32Array[]) => {
          const requests = sequences.map((sequence, i) => ({ sequence, tokens: inputs[i]!, sampling: greedy }));
          if (together) return model.step(requests);
          return Promise.all(requests.map(async (request) => (await model.step([request]))[0]!));
        };
        let results = await step(sequences.map((_, i) => prompt(3 + 5 * i, i)));
        const drawn = results.map(({ token }) => token);
        for (let i = 0; i < 5; i++) {
          results = await step(results.map(({ token }) => Int32Array.of(token)));
          drawn.push(...results.map(({ token }) => token));
        }
        draws.push(drawn);
      }
      expect(draws[0]).toEqual(draws[1]);
      await model.close();
    });

    it("reads with an adapter what logits() with it says, and differs from the base", async () => {
      const { config, model, prompt } = await open(8);
      const adapter = await model.createAdapter(randomAdapter(config, 3));
      const sequence = await model.createSequence({ capacity: 40, adapter });
      const tokens = await greedyTokens(model, sequence, prompt(7), 10);
      expect(tokens).toEqual(await greedyWithoutCache(model, prompt(7), 10, adapter));
      expect(await model.logits(prompt(7), adapter)).not.toEqual(await model.logits(prompt(7)));
      await model.close();
    });

    it("gives the same bits on any number of threads", async () => {
      const weights = await writeRandomModel(join(folder, isa), randomConfig(7), 7, "F32");
      const tokens = randomIntegers(30, weights.config.vocabSize, 7, 500);
      const results: Float32Array[] = [];
      for (const threads of ["1", "2", "3"]) {
        const model = await (
          await openNativeEngine({ LLAMA_DEVICE: device, LLAMA_ISA: isa, LLAMA_THREADS: threads })
        ).load(weights);
        results.push(await model.logits(tokens));
        await model.close();
      }
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
    });

    it("takes prompts of more than one pass, and gives the same as in pieces", async () => {
      const { model, prompt } = await open(9, { slidingWindow: null });
      const whole = await model.createSequence({ capacity: 1300 });
      const pieces = await model.createSequence({ capacity: 1300 });
      const tokens = prompt(1200);
      const [expected] = await model.step([{ sequence: whole, tokens, sampling: greedy }]);
      let last = -1;
      for (let begin = 0; begin < tokens.length; begin += 77) {
        const piece = tokens.slice(begin, begin + 77);
        [{ token: last }] = (await model.step([{ sequence: pieces, tokens: piece, sampling: greedy }])) as [
          { token: number },
        ];
      }
      expect(last).toBe(expected!.token);
      expect(whole.length).toBe(1200);
      await model.close();
    });

    it("gives the same whether a step was computed ahead or not, and whatever is asked for in its place", async () => {
      const { model, prompt, config } = await open(6);
      const adapters = [await model.createAdapter(randomAdapter(config, 6)), null];
      const drawing = { ...greedy, temperature: 0.9, repetitionPenalty: 1.2, seed: 7 };

      async function run(continuesUnless: Int32Array | undefined): Promise<number[]> {
        const drawn: number[] = [];
        const open = (adapter: EngineAdapter | null) => model.createSequence({ capacity: 60, adapter });
        const [a, b] = [await open(adapters[0]!), await open(null)];
        const step = async (
          requests: readonly { sequence: EngineSequence; tokens: Int32Array }[],
          sampling: (i: number) => Sampling,
        ) => {
          const results = await model.step(
            requests.map(({ sequence, tokens }, i) => ({ sequence, tokens, sampling: sampling(i), continuesUnless })),
          );
          // Now there is time to run ahead.
          await sleep(3);
          drawn.push(...results.map(({ token }) => token));
          return results.map(({ token }) => Int32Array.of(token));
        };
        const at = (index: number) => () => ({ ...drawing, index });
        let [x, y] = await step(
          [
            { sequence: a, tokens: prompt(9) },
            { sequence: b, tokens: prompt(5) },
          ],
          at(0),
        );
        for (let i = 1; i < 4; i++) {
          [x, y] = await step(
            [
              { sequence: a, tokens: x! },
              { sequence: b, tokens: y! },
            ],
            at(i),
          );
        }
        // The other way round, one of them alone, and one more than before.
        [y, x] = await step(
          [
            { sequence: b, tokens: y! },
            { sequence: a, tokens: x! },
          ],
          at(4),
        );
        [x] = await step([{ sequence: a, tokens: x! }], at(5));
        const c = await open(null);
        [x, y] = await step(
          [x!, y!, prompt(4)].map((tokens, i) => ({ sequence: [a, b, c][i]!, tokens })),
          at(6),
        );
        // Other settings, another token, fewer tokens than there were.
        [x, y] = await step(
          [
            { sequence: a, tokens: x! },
            { sequence: b, tokens: y! },
          ],
          (i) => (i ? greedy : at(9)()),
        );
        [x] = await step(
          [
            { sequence: a, tokens: prompt(1, 1) },
            { sequence: b, tokens: y! },
          ],
          at(8),
        );
        a.truncate(7);
        [x] = await step([{ sequence: a, tokens: x! }], at(9));
        // The adapter has learnt meanwhile.
        const trainer = await model.createTrainer(adapters[0]!);
        const tokens = prompt(8, 2);
        await trainer.accumulate({ tokens, targets: tokens, offsets: Int32Array.of(0, 8) }, 1);
        await trainer.update({
          learningRate: 0.1,
          beta1: 0.9,
          beta2: 0.999,
          epsilon: 1e-8,
          weightDecay: 0,
          maxGradNorm: 0,
        });
        [x] = await step([{ sequence: a, tokens: x! }], at(10));
        await step([{ sequence: a, tokens: x! }], at(11));
        // Up to the end of its room, and gone while it is computed.
        [y] = await step([{ sequence: b, tokens: prompt(b.capacity - b.length, 3) }], at(12));
        await model.step([{ sequence: c, tokens: prompt(1), sampling: greedy, continuesUnless }]);
        for (const sequence of [a, b, c]) sequence.close();
        await trainer.close();
        return drawn;
      }
      const modules = await adapters[0]!.read();
      const plain = await run(undefined);
      adapters[0] = await model.createAdapter(modules);
      const ahead = await run(Int32Array.of());
      adapters[0] = await model.createAdapter(modules);
      const ended = await run(Int32Array.of(...plain.slice(4, 9)));
      expect(ahead).toEqual(plain);
      expect(ended).toEqual(plain);
      await model.close();
    });

    it("forgets what was truncated", async () => {
      const { model, prompt } = await open(10);
      const sequence = await model.createSequence({ capacity: 64 });
      const first = await greedyTokens(model, sequence, prompt(8), 6);
      sequence.truncate(0);
      await greedyTokens(model, sequence, prompt(20, 1), 3);
      sequence.truncate(0);
      expect(await greedyTokens(model, sequence, prompt(8), 6)).toEqual(first);
      sequence.truncate(8);
      expect(await greedyTokens(model, sequence, Int32Array.of(first[0]!), 5)).toEqual(first.slice(1));
      await model.close();
    });

    it("draws what sampling.ts draws from the same logits", async () => {
      const { config, model, prompt } = await open(11);
      const tokens = prompt(10);
      const logits = (await model.logits(tokens)).slice(-config.vocabSize);
      const sequence = await model.createSequence({ capacity: 16 });
      const settings: Partial<Sampling>[] = [
        {},
        { temperature: 0.3 },
        { temperature: 2, topP: 0.7 },
        { temperature: 1, topK: 5 },
        { temperature: 0.8, topK: 20, topP: 0.9, repetitionPenalty: 1.4 },
        { temperature: 0, repetitionPenalty: 3 },
        { temperature: 1, topP: 1e-6 },
        { temperature: 1e-6 },
        { temperature: Number.MIN_VALUE },
        { temperature: 1e-5, repetitionPenalty: 0.01 },
        { temperature: 5, topK: Number.MAX_SAFE_INTEGER, topP: 0, repetitionPenalty: 5 },
        { temperature: 1.5, forbidden: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] },
      ];
      for (const [i, setting] of settings.entries()) {
        for (let index = 0; index < 20; index++) {
          const sampling = { ...greedy, temperature: 1, seed: 2 ** 40 + i, index, ...setting };
          sequence.truncate(0);
          const [result] = await model.step([{ sequence, tokens, sampling }]);
          expect(result!.token).toBe(sampleToken(logits, tokens, sampling));
        }
      }
      await model.close();
    });

    it("packs checkpoints that mix storage types inside a layer", async () => {
      const seed = 12;
      const config = randomConfig(seed);
      const [wide, narrow] = await Promise.all(
        (["F32", "BF16"] as const).map((dtype) => writeRandomModel(join(folder, `${isa}-mixed`), config, seed, dtype)),
      );
      const name = "model.layers.0.self_attn.k_proj.weight";
      const tensors = new Map(wide!.tensors).set(name, narrow!.tensors.get(name)!);
      const [mixed, plain] = [await engine.load({ config, tensors }), await engine.load(wide!)];
      const tokens = randomIntegers(5, config.vocabSize, seed, 1);
      const difference = maximumDifference(await mixed.logits(tokens), await plain.logits(tokens));
      // bfloat16 has 8 bits: one rounded matrix moves logits of size 1 by far less than 0.2, but it does move them.
      expect(difference).toBeGreaterThan(0);
      expect(difference).toBeLessThan(0.2);
      await mixed.close();
      await plain.close();
    });

    it("reports progress up to 1, and stops loading when asked", async () => {
      const weights = await writeRandomModel(join(folder, isa), randomConfig(1), 1, "F32");
      const fractions: number[] = [];
      const model = await engine.load(weights, { onProgress: (fraction) => fractions.push(fraction) });
      expect(fractions.at(-1)).toBe(1);
      expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));
      expect(model.weightBytes).toBeGreaterThan(0);
      await model.close();
      const stopping = new AbortController();
      const loading = engine.load(weights, { signal: stopping.signal });
      stopping.abort(new Error("not needed any more"));
      await expect(loading).rejects.toThrow("not needed any more");
    });

    describe("refuses", () => {
      async function change(edit: (tensors: Map<string, TensorSource>) => void): Promise<ModelWeights> {
        const weights = await writeRandomModel(join(folder, `${isa}-refused`), randomConfig(1), 1, "F32");
        const tensors = new Map(weights.tensors);
        edit(tensors);
        return { ...weights, tensors };
      }

      it("a missing tensor, a wrong shape and a truncated file, by the tensor's name", async () => {
        const name = "model.layers.1.mlp.up_proj.weight";
        const missing = await change((tensors) => tensors.delete(name));
        await expect(engine.load(missing)).rejects.toMatchObject({
          code: "CHECKPOINT_TENSOR",
          message: `tensor ${name} is missing`,
        });
        const misshapen = await change((tensors) => {
          tensors.set(name, { ...tensors.get(name)!, shape: [3, 5] });
        });
        await expect(engine.load(misshapen)).rejects.toMatchObject({
          code: "CHECKPOINT_TENSOR",
          message: expect.stringContaining(`${name} has shape [3, 5]`),
        });
        const cut = await change(() => {});
        const last = [...cut.tensors].at(-1)!;
        await truncate(last[1].file, last[1].offset + 7);
        await expect(engine.load(cut)).rejects.toMatchObject({
          code: "CHECKPOINT_CORRUPT",
          message: expect.stringContaining(last[0]),
        });
      });

      it("an offset beyond the file and a file that is not there", async () => {
        const name = "model.norm.weight";
        const edit = (fields: object) =>
          change((tensors) => {
            tensors.set(name, { ...tensors.get(name)!, ...fields });
          });
        await expect(engine.load(await edit({ offset: 2 ** 52 }))).rejects.toMatchObject({
          code: "CHECKPOINT_CORRUPT",
        });
        const gone = await edit({ file: join(folder, "gone") });
        await expect(engine.load(gone)).rejects.toMatchObject({ code: "CHECKPOINT_NOT_FOUND" });
      });

      it("impossible configurations", async () => {
        const weights = await change(() => {});
        for (const wrong of [{ layers: 0 }, { heads: 5, kvHeads: 3 }, { vocabSize: 2 ** 30 }, { headDim: 3 }]) {
          const config = { ...weights.config, ...wrong };
          await expect(engine.load({ ...weights, config })).rejects.toMatchObject({ code: "ENGINE_ARGUMENT" });
        }
      });

      it("requests outside the limits, and goes on working", async () => {
        const { config, model, prompt } = await open(13);
        const sequence = await model.createSequence({ capacity: 8 });
        const refused = { code: "ENGINE_ARGUMENT" };
        const step = (tokens: Int32Array, sampling: Sampling | null = greedy) =>
          model.step([{ sequence, tokens, sampling }]);
        const every = Array.from({ length: config.vocabSize }, (_, token) => token);
        for (const [tokens, sampling] of [
          [prompt(9), greedy],
          [Int32Array.of(), greedy],
          [Int32Array.of(config.vocabSize), greedy],
          [Int32Array.of(-1), greedy],
          [prompt(2), { ...greedy, topP: 1.5 }],
          [prompt(2), { ...greedy, seed: 0.5 }],
          [prompt(2), { ...greedy, forbidden: [-3] }],
          [prompt(2), { ...greedy, forbidden: every }],
        ] as const) {
          expect(await step(tokens, sampling)).toEqual([{ token: -1, error: expect.objectContaining(refused) }]);
        }
        const twice = { sequence, tokens: prompt(1), sampling: null };
        expect(await model.step([twice, twice])).toMatchObject([{ token: -1 }, { error: refused }]);
        sequence.truncate(0);
        expect(() => sequence.truncate(1)).toThrow("allowed is 0 to 0");
        await expect(model.createSequence({ capacity: 0 })).rejects.toMatchObject(refused);
        await expect(model.createSequence({ capacity: config.maxPositionEmbeddings + 1 })).rejects.toMatchObject(
          refused,
        );
        expect(sequence.length).toBe(0);
        expect(await step(prompt(8), null)).toEqual([{ token: -1 }]);
        await model.close();
      });

      it("adapters of another shape, and values that are not finite", async () => {
        const { config, model } = await open(14);
        const [module] = randomAdapter(config, 1, ["q_proj"]);
        const create = (fields: object) => model.createAdapter([{ ...module!, ...fields }]);
        await expect(create({ layer: config.layers })).rejects.toMatchObject({ code: "ADAPTER_MISMATCH" });
        await expect(create({ a: module!.a.slice(1) })).rejects.toMatchObject({ code: "ADAPTER_MISMATCH" });
        const infinite = module!.b.map(() => Number.POSITIVE_INFINITY);
        await expect(create({ b: infinite })).rejects.toMatchObject({ code: "ENGINE_ARGUMENT" });
        await expect(model.createAdapter([module!, module!])).rejects.toThrow("is there twice");
        await model.close();
      });
    });

    it("says how much memory is missing instead of being ended by the system", async () => {
      // 131 kB a token of cache: terabytes for what follows.
      const wide = { layers: 2, heads: 8, kvHeads: 8, headDim: 1024, maxPositionEmbeddings: 2 ** 24 };
      const rope = { inverseFrequencies: new Float32Array(512), attentionScaling: 1 };
      const { config, model } = await open(17, { ...wide, rope });
      const missing = { code: "OUT_OF_MEMORY", message: expect.stringMatching(/needs \d+\.\d\d GB/) };
      await expect(model.createSequence({ capacity: 2 ** 24 })).rejects.toMatchObject(missing);
      const trainer = await model.createTrainer(await model.createAdapter(randomAdapter(config, 1, ["q_proj"])));
      const tokens = new Int32Array(2 ** 22);
      const batch = { tokens, targets: tokens, offsets: Int32Array.of(0, tokens.length) };
      await expect(trainer.accumulate(batch, 1)).rejects.toMatchObject(missing);
      await model.close();
    });

    it("names the overflow of the one request whose adapter overflows", async () => {
      const { config, model, prompt } = await open(15);
      const huge = randomAdapter(config, 1).map((module) => ({ ...module, b: module.b.map(() => 1e38), scale: 1e6 }));
      const broken = await model.createSequence({ capacity: 8, adapter: await model.createAdapter(huge) });
      const healthy = await model.createSequence({ capacity: 8 });
      const results = await model.step(
        [broken, healthy].map((sequence) => ({ sequence, tokens: prompt(4), sampling: greedy })),
      );
      expect(results[0]).toMatchObject({ token: -1, error: { code: "LOGITS_NOT_FINITE" } });
      expect(broken.length).toBe(0);
      expect(results[1]!.token).toBe((await greedyWithoutCache(model, prompt(4), 1))[0]);
      await model.close();
    });

    it("answers after close() with an error, finishes what was under way, and closes twice", async () => {
      const { config, model, prompt } = await open(16);
      const adapter = await model.createAdapter(randomAdapter(config, 1));
      const sequence = await model.createSequence({ capacity: 900, adapter });
      const trainer = await model.createTrainer(adapter);
      const under = model.step([{ sequence, tokens: prompt(800), sampling: greedy }]);
      const closing = model.close();
      expect((await under)[0]!.token).toBeGreaterThanOrEqual(0);
      await closing;
      await model.close();
      const closed = { code: "ENGINE_ARGUMENT", message: expect.stringContaining("closed") };
      await expect(model.step([{ sequence, tokens: prompt(1), sampling: greedy }])).rejects.toMatchObject(closed);
      await expect(model.logits(prompt(2))).rejects.toMatchObject(closed);
      await expect(adapter.read()).rejects.toMatchObject(closed);
      await expect(trainer.gradients()).rejects.toMatchObject(closed);
      await expect(model.createSequence({ capacity: 4 })).rejects.toMatchObject(closed);
      sequence.close();
      await adapter.close();
      await trainer.close();
    });
  });
}

function maximumDifference(x: Float32Array, y: Float32Array): number {
  return x.reduce((most, value, i) => Math.max(most, Math.abs(value - y[i]!)), 0);
}
