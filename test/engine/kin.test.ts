import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { AdapterModule, Engine, EngineModel, PackedBatch, Sampling } from "../../src/engine/engine.ts";
import { openNativeEngine } from "../../src/engine/native/index.ts";
import { openTensorflowEngine } from "../../src/engine/tensorflow/index.ts";
import { readAdapter } from "../../src/llama/adapter/index.ts";
import { openHuggingFaceFolder } from "../../src/llama/checkpoint/huggingface.ts";
import { readTensor } from "../../src/llama/checkpoint/read-tensor.ts";
import { readSafetensorsHeader } from "../../src/llama/checkpoint/safetensors.ts";
import { collectTensors } from "../../src/llama/checkpoint/tensors.ts";

/** With LLAMA_DEVICE=cuda the native engine's tests are the GPU's. */
const device = process.env.LLAMA_DEVICE || "cpu";
const native = (isa: string, more: NodeJS.ProcessEnv = {}) =>
  openNativeEngine({ LLAMA_DEVICE: device, LLAMA_ISA: isa, LLAMA_THREADS: "1", ...more });
const engines: [string, () => Promise<Engine>][] = [
  ["native, reference", () => native("reference")],
  ["native, auto", () => native("auto")],
  ["native, layers computed again", () => native("auto", { LLAMA_CHECKPOINTED_LAYERS: "2" })],
  ["tensorflow", () => openTensorflowEngine({ LLAMA_TF_BACKEND: "cpu", ...process.env, LLAMA_DEVICE: "auto" })],
];

/** Written by bench/kin-fixtures.py: float32 models, computed by transformers and PEFT in float64. */
interface Golden {
  readonly ids: number[];
  /** [tokens * vocabulary] */
  readonly logits: number[];
  readonly greedy: number[];
  readonly adapterLogits: number[];
  /** Sum over all tokens but the first, with the adapter; its gradients are in gradients.safetensors. */
  readonly loss: number;
}

const greedy: Sampling = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0, index: 0 };
const update = {
  learningRate: 1e-2,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  maxGradNorm: 1,
};

/** Largest |a - b|. */
function distance(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(found.length).toBe(expected.length);
  return Array.from(expected, (value, i) => Math.abs(found[i]! - value)).reduce((most, gap) => Math.max(most, gap), 0);
}

describe.each(["qwen2", "qwen3"])("%s is what transformers has", (kind) => {
  const folder = join(import.meta.dirname, "fixtures", kind);
  const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Golden;
  const ids = Int32Array.from(golden.ids);

  describe.each(engines)("%s", (_, open) => {
    let model: EngineModel;
    let modules: readonly AdapterModule[];
    beforeAll(async () => {
      const { config, weights } = await openHuggingFaceFolder(folder);
      const { tensors, ignored } = collectTensors(config, weights);
      expect(ignored).toEqual([]);
      ({ modules } = await readAdapter(join(folder, "adapter"), config));
      model = await (await open()).load({ config, tensors });
      return () => model.close();
    });

    it("has its logits, with an adapter too", async () => {
      // Five decimals are kept; float32 adds some 1e-5 to logits of up to 20.
      expect(distance(await model.logits(ids), golden.logits)).toBeLessThan(1e-4);
      const adapter = await model.createAdapter(modules);
      expect(distance(await model.logits(ids, adapter), golden.adapterLogits)).toBeLessThan(1e-4);
      await adapter.close();
    });

    it("continues greedily from its cache with the same tokens", async () => {
      const sequence = await model.createSequence({ capacity: 64 });
      const drawn: number[] = [];
      for (let tokens = ids; drawn.length < golden.greedy.length; tokens = Int32Array.of(drawn.at(-1)!)) {
        const [result] = await model.step([{ sequence, tokens, sampling: greedy }]);
        drawn.push(result!.token);
      }
      expect(drawn).toEqual(golden.greedy);
      sequence.close();
    });

    it("has PEFT's loss and gradients, and learns", async () => {
      const adapter = await model.createAdapter(modules);
      const trainer = await model.createTrainer(adapter);
      const batch: PackedBatch = {
        tokens: ids,
        targets: Int32Array.from(ids, (__, i) => ids[i + 1] ?? -100),
        offsets: Int32Array.of(0, ids.length),
      };
      const { loss } = await trainer.accumulate(batch, 1);
      expect(loss / golden.loss).toBeCloseTo(1, 5);
      const { tensors } = await readSafetensorsHeader(join(folder, "gradients.safetensors"));
      for (const [i, { a, b }] of (await trainer.gradients()).entries()) {
        const { layer, linear } = modules[i]!;
        for (const [side, found] of [
          ["A", a],
          ["B", b],
        ] as const) {
          const end = `layers.${layer}.`;
          const name = [...tensors.keys()].find(
            (key) => key.includes(end) && key.endsWith(`${linear}.lora_${side}.weight`),
          )!;
          const entry = tensors.get(name)!;
          const expected = await readTensor({ ...entry, dtype: "F32" });
          const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
          expect(distance(found, expected) / largest, name).toBeLessThan(1e-4);
        }
      }
      await trainer.update(update);
      for (let step = 0; step < 4; step++) {
        await trainer.accumulate(batch, 1 / (ids.length - 1));
        await trainer.update(update);
      }
      expect((await trainer.evaluate(batch)).loss).toBeLessThan(0.8 * loss);
      await trainer.close();
      await adapter.close();
    });
  });
});
