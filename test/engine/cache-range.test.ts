import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { EngineModel, ModelWeights, Sampling } from "../../src/engine/engine.ts";
import { openAddon } from "../../src/engine/native/addon.ts";
import { openNativeEngine } from "../../src/engine/native/index.ts";
import { randomConfig, randomIntegers, writeRandomModel } from "./random-model.ts";

const greedy: Sampling = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0, index: 0 };
const folder = mkdtempSync(join(tmpdir(), "llama-cache-range-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const config = { ...randomConfig(6), slidingWindow: null };

/** Multiplies every weight of a bfloat16 tensor in all layers by a power of two, which is exact. */
function scale(weights: ModelWeights, linear: string, exponent: number): void {
  for (const [name, { file, offset, shape }] of weights.tensors) {
    if (!name.includes(linear)) continue;
    const data = readFileSync(file);
    for (let at = offset; at < offset + 2 * shape[0]! * shape[1]!; at += 2) {
      const bits = data.readUInt16LE(at);
      if ((bits & 0x7fff) !== 0) data.writeUInt16LE(bits + exponent * 128, at);
    }
    writeFileSync(file, data);
  }
}

/** A prompt of several blocks of keys, then tokens one by one. */
async function answer(model: EngineModel): Promise<number[]> {
  const sequence = await model.createSequence({ capacity: 200 });
  const tokens: number[] = [];
  let next = randomIntegers(150, config.vocabSize, 6, 500);
  for (let i = 0; i < 20; i++) {
    const [result] = await model.step([{ sequence, tokens: next, sampling: greedy }]);
    tokens.push(result!.token);
    next = Int32Array.of(result!.token);
  }
  sequence.close();
  return tokens;
}

for (const isa of (await openAddon()).instructionSets()) {
  describe(`keys and values of a bfloat16 model (${isa})`, () => {
    it.each([
      ["keys", "k_proj", "q_proj"],
      ["values", "v_proj", "o_proj"],
    ])("past float16's range give the same answer: %s", async (_, larger, smaller) => {
      const engine = await openNativeEngine({ LLAMA_DEVICE: "cpu", LLAMA_ISA: isa, LLAMA_THREADS: "1" });
      const weights = await writeRandomModel(join(folder, isa, larger), config, 6, "BF16");
      const usual = await engine.load(weights);
      const expected = await answer(usual);
      expect(expected.every((token) => token >= 0)).toBe(true);
      await usual.close();
      // About a million times larger, and what reads them as much smaller: every product is the same.
      scale(weights, larger, 20);
      scale(weights, smaller, -20);
      const large = await engine.load(weights);
      expect(await answer(large)).toEqual(expected);
      await large.close();
    });
  });
}
