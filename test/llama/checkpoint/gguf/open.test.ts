import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openEngine } from "../../../../src/engine/open.ts";
import { openGguf } from "../../../../src/llama/checkpoint/gguf/open.ts";
import { chooseCheckpoint } from "../../../../src/llama/checkpoint/index.ts";
import { collectTensors } from "../../../../src/llama/checkpoint/tensors.ts";
import { referenceData } from "../../../reference-data.mjs";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "gguf-open-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a GGUF file in weights/", () => {
  const put = (path: string, content: string | Uint8Array = "GGUF") => {
    mkdirSync(join(folder, path, ".."), { recursive: true });
    writeFileSync(join(folder, path), content);
  };
  const located = async () => {
    const { locateCheckpoint } = await import("../../../../src/llama/checkpoint/locate.ts");
    return locateCheckpoint(await chooseCheckpoint({}, folder)).catch((error: unknown) => error);
  };

  it.each(["llama.gguf", "mine/llama.Q4_K_M.gguf"])("is the model: %s", async (path) => {
    put(path);
    expect(await located()).toBe(join(folder, path));
  });

  it("is known by how it begins where LLAMA_WEIGHTS names it, and no other file is", async () => {
    put("sha256-0123456789", "GGUF and more");
    put("other", "no model");
    expect(await chooseCheckpoint({ LLAMA_WEIGHTS: join(folder, "sha256-0123456789") })).toBe(
      join(folder, "sha256-0123456789"),
    );
    await expect(chooseCheckpoint({ LLAMA_WEIGHTS: join(folder, "other") })).rejects.toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
      message: expect.stringContaining("no GGUF file"),
    });
  });

  it("is the model by its first part", async () => {
    put("m-00002-of-00002.gguf");
    put("m-00001-of-00002.gguf");
    expect(await located()).toBe(join(folder, "m-00001-of-00002.gguf"));
  });

  it("is refused beside another, with both", async () => {
    put("a.gguf");
    put("b-00001-of-00002.gguf");
    put("b-00002-of-00002.gguf");
    expect(await located()).toMatchObject({
      code: "CHECKPOINT_AMBIGUOUS",
      message: `${folder}: holds several models: a.gguf, b in 2 parts`,
    });
  });

  it("is left aside for safetensors, and the folder is taken with a config.json alone", async () => {
    put("llama.gguf");
    put("config.json", "{}");
    expect(await located()).toBe(join(folder, "llama.gguf"));
    put("model.safetensors", "");
    expect(await located()).toBe(folder);
  });
});

/** Made by the reference data's tools/make_smollm2.py, whose OUT this names. */
const smollm2 = process.env.SMOLLM2 ?? "";
const golden = join(referenceData, "golden", "smollm2.json");

describe.skipIf(!existsSync(join(smollm2, "smollm2.gguf")) || !existsSync(golden))("SmolLM2's GGUF file", () => {
  it("has transformers' logits within 1e-4, and its greedy text", async () => {
    const { config, weights } = await openGguf(join(smollm2, "smollm2.gguf"));
    const { tensors } = collectTensors(config, weights);
    const engine = await openEngine({ ...process.env, LLAMA_DEVICE: "cpu" });
    const model = await engine.load({ config, tensors });
    const greedy = { temperature: 0, topP: 1, topK: 0, repetitionPenalty: 1, seed: 0, index: 0 };
    for (const { ids, last, greedy: expected } of JSON.parse(readFileSync(golden, "utf8")).cases) {
      const logits = (await model.logits(Int32Array.from(ids))).subarray(-config.vocabSize);
      for (const [i, value] of last.entries()) expect(Math.abs(logits[i]! - value)).toBeLessThan(1e-4);
      const sequence = await model.createSequence({ capacity: expected.length });
      const text = [...ids];
      for (let tokens = Int32Array.from(ids); text.length < expected.length; ) {
        const [drawn] = await model.step([{ sequence, tokens, sampling: greedy }]);
        text.push(drawn!.token);
        tokens = Int32Array.of(drawn!.token);
      }
      expect(text).toEqual(expected);
      sequence.close();
    }
    await model.close();
  }, 120_000);
});
