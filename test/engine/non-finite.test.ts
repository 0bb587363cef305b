import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { EngineAdapter, EngineModel, ModelWeights, Sampling, WeightType } from "../../src/engine/engine.ts";
import { openAddon } from "../../src/engine/native/addon.ts";
import { openNativeEngine } from "../../src/engine/native/index.ts";
import { randomAdapter, randomConfig, writeRandomModel } from "./random-model.ts";

const greedy: Sampling = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0, index: 0 };
const folder = mkdtempSync(join(tmpdir(), "llama-non-finite-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const prompt = Int32Array.of(5, 9, 7, 11, 2);
const batch = { tokens: prompt, targets: Int32Array.of(9, 7, 11, 2, -100), offsets: Int32Array.of(0, 5) };

/** Bits of NaN, +infinity and -infinity. */
const overflows: Record<WeightType, readonly (readonly [string, number])[]> = {
  F32: [
    ["NaN", 0x7fc00000],
    ["+infinity", 0x7f800000],
    ["-infinity", 0xff800000],
  ],
  F16: [
    ["NaN", 0x7e00],
    ["+infinity", 0x7c00],
    ["-infinity", 0xfc00],
  ],
  BF16: [
    ["NaN", 0x7fc0],
    ["+infinity", 0x7f80],
    ["-infinity", 0xff80],
  ],
};

/** What a model does with a prompt, a decode step behind it, and a batch to train on. */
async function outcome(model: EngineModel, adapter: EngineAdapter) {
  const sequence = await model.createSequence({ capacity: 16, adapter });
  const step = async (tokens: Int32Array) => (await model.step([{ sequence, tokens, sampling: greedy }]))[0]!.token;
  const tokens = [await step(prompt), await step(Int32Array.of(7))];
  const trainer = await model.createTrainer(adapter);
  const losses = [(await trainer.evaluate(batch)).loss, (await trainer.accumulate(batch, 1)).loss];
  await trainer.close();
  sequence.close();
  return { tokens, finite: losses.map(Number.isFinite) };
}

const refused = { tokens: [-1, -1], finite: [false, false] };

for (const isa of (await openAddon()).instructionSets()) {
  describe(`a number that is not finite (${isa})`, () => {
    const config = { ...randomConfig(8), tiedHead: false, slidingWindow: null };
    const open = async (weights: ModelWeights) =>
      (await openNativeEngine({ LLAMA_DEVICE: "cpu", LLAMA_ISA: isa, LLAMA_THREADS: "1" })).load(weights);

    for (const dtype of ["F32", "F16", "BF16"] as const) {
      it(`in any tensor is never answered or trained over (${dtype})`, async () => {
        const weights = await writeRandomModel(join(folder, isa), config, 8, dtype);
        const adapter = randomAdapter(config, 1, ["q_proj", "v_proj"]);
        const sound = await open(weights);
        const { tokens, finite } = await outcome(sound, await sound.createAdapter(adapter));
        expect(tokens.every((token) => token >= 0) && finite.every(Boolean)).toBe(true);
        await sound.close();

        const wrong: string[] = [];
        for (const [name, tensor] of weights.tensors) {
          const bytes = dtype === "F32" ? 4 : 2;
          // In the embedding an element of a token that is read; elsewhere the sixth.
          const element = name.includes("embed") ? 7 * config.hiddenSize + 3 : 5;
          for (const [value, bits] of overflows[dtype]) {
            const restore = overwrite(tensor.file, tensor.offset + element * bytes, bytes, bits);
            const model = await open(weights);
            const found = await outcome(model, await model.createAdapter(adapter));
            if (JSON.stringify(found) !== JSON.stringify(refused))
              wrong.push(`${value} in ${name}: ${JSON.stringify(found)}`);
            await model.close();
            restore();
          }
        }
        expect(wrong).toEqual([]);
      });
    }

    it("from an adapter's products is never answered or trained over, whichever linear it sits on", async () => {
      const model = await open(await writeRandomModel(join(folder, isa), config, 8, "F32"));
      for (const module of randomAdapter(config, 1)) {
        const huge = { ...module, b: module.b.map((value) => Math.sign(value) * 3e38), scale: 1e6 };
        expect(await outcome(model, await model.createAdapter([huge]))).toEqual(refused);
      }
      await model.close();
    });

    it("made of squares that overflow is no row of zeros", async () => {
      // Finite itself, but not its square: the norm behind it would make zeros, and the model would answer without its input.
      const model = await open(await writeRandomModel(join(folder, isa), config, 8, "F32"));
      const large = randomAdapter(config, 1, ["o_proj", "down_proj"]).map((module) => ({
        ...module,
        b: module.b.map((value) => value * 1e25),
      }));
      expect(await outcome(model, await model.createAdapter(large))).toEqual(refused);
      await model.close();
    });
  });
}

/** Returns what puts the bytes back. */
function overwrite(file: string, at: number, bytes: number, bits: number): () => void {
  const [before, after] = [Buffer.alloc(bytes), Buffer.alloc(bytes)];
  after.writeUIntLE(bits, 0, bytes);
  const write = (data: Buffer) => {
    const handle = openSync(file, "r+");
    writeSync(handle, data, 0, bytes, at);
    closeSync(handle);
  };
  const handle = openSync(file, "r");
  readSync(handle, before, 0, bytes, at);
  closeSync(handle);
  write(after);
  return () => write(before);
}
