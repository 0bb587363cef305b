import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { ModelWeights } from "../../../../src/engine/engine.ts";
import { openEngine } from "../../../../src/engine/open.ts";
import { openGguf } from "../../../../src/llama/checkpoint/gguf/open.ts";
import { collectTensors } from "../../../../src/llama/checkpoint/tensors.ts";
import { randomConfig, writeRandomModel } from "../../../engine/random-model.ts";
import { ggufOf, writeGguf } from "./gguf-file.ts";

const folder = mkdtempSync(join(tmpdir(), "gguf-families-"));
afterAll(() => rmSync(folder, { recursive: true }));

it.each([
  ["llama", { attentionBias: false, queryKeyNorm: false, slidingWindow: 5 }],
  ["qwen2", { attentionBias: true, queryKeyNorm: false, slidingWindow: null }],
  ["qwen3", { attentionBias: false, queryKeyNorm: true, slidingWindow: null }],
])("a random %s has the logits of its Hugging Face tensors", async (architecture, family) => {
  const sizes = { heads: 6, kvHeads: 2, headDim: 10, hiddenSize: 37, maxPositionEmbeddings: 512 };
  const config = { ...randomConfig(3), ...sizes, ...family };
  const weights = await writeRandomModel(folder, config, 3, "F32");
  const source = await openGguf(writeGguf(join(folder, `${architecture}.gguf`), await ggufOf(weights, architecture)));
  const { rope } = source.config;
  expect(source.config).toEqual({ ...config, rope });
  const { tensors, ignored } = collectTensors(source.config, source.weights);
  expect(ignored).toEqual([]);

  const engine = await openEngine({ ...process.env, LLAMA_DEVICE: "cpu" });
  const logits = async (model: ModelWeights) => {
    const loaded = await engine.load(model);
    const result = await loaded.logits(Int32Array.of(1, 7, 3, 3, 60, 0, 12, 9));
    await loaded.close();
    return result;
  };
  const found = await logits({ config: source.config, tensors });
  expect(found.every(Number.isFinite)).toBe(true);
  expect(found).toEqual(await logits({ ...weights, config: source.config }));
});
