import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { linearNames } from "../../src/engine/config.ts";
import { openNativeEngine } from "../../src/engine/native/index.ts";
import { randomAdapter, randomConfig, writeRandomModel } from "./random-model.ts";

const folder = mkdtempSync(join(tmpdir(), "llama-adapters-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function open() {
  const engine = await openNativeEngine({ LLAMA_DEVICE: "cpu", LLAMA_THREADS: "1" });
  const config = randomConfig(3);
  const model = await engine.load(await writeRandomModel(folder, config, 3, "F32"));
  return { model, large: randomAdapter(config, 1, linearNames, 4096, 1) };
}

it("steps go on while large adapters are made", async () => {
  const { model, large } = await open();
  const sequence = await model.createSequence({ capacity: 20 });
  const sampling = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0, index: 0 };
  const ended: string[] = [];
  const making = Promise.all(Array.from({ length: 8 }, () => model.createAdapter(large))).then((adapters) => {
    ended.push("adapters");
    return adapters;
  });
  await model.step([{ sequence, tokens: Int32Array.of(1, 2, 3), sampling }]);
  ended.push("step");
  const adapter = (await making)[7]!;
  expect(ended).toEqual(["step", "adapters"]);
  expect(await model.logits(Int32Array.of(1, 2), adapter)).toHaveLength(2 * model.config.vocabSize);
  await model.close();
});

it("an adapter that is being made when its model is closed is refused", async () => {
  const { model, large } = await open();
  const making = Promise.allSettled([model.createAdapter(large), model.createAdapter(large)]);
  await model.close();
  for (const result of await making) {
    expect(result).toMatchObject({ status: "rejected", reason: { code: "ENGINE_ARGUMENT" } });
  }
});
