import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineModel } from "../../../src/engine/engine.ts";
import { openNativeEngine } from "../../../src/engine/native/index.ts";
import { openTensorflowEngine } from "../../../src/engine/tensorflow/index.ts";
import { CacheAdmission } from "../../../src/llama/generation/admission.ts";
import { Llama } from "../../../src/llama/index.ts";
import { writeTinyCheckpoint } from "./tiny-checkpoint.ts";

// The reference kernels' cache has no padding: 2 layers of 2 heads of 8 floats, keys and values.
const tokenBytes = 2 * 2 * 2 * 8 * 4;
const room = 200;
const env = { LLAMA_DEVICE: "cpu", LLAMA_ISA: "reference", LLAMA_CACHE_BYTES: String(room * tokenBytes + 1) };

let folder: string;
let roomy: Llama;
let llama: Llama;
let model: EngineModel;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "admission-test-"));
  await writeTinyCheckpoint(folder);
  roomy = await Llama.load({ weights: folder, engine: await openNativeEngine({ ...env, LLAMA_CACHE_BYTES: "" }) });
  llama = await Llama.load({ weights: folder, engine: await openNativeEngine(env) });
  model = llama.model;
});
afterAll(async () => {
  await roomy.close();
  await llama.close();
  rmSync(folder, { recursive: true });
});

const long = { temperature: 1, seed: 1, max_new_tokens: 120 };

/** Whether the promise has settled within a few turns of the event loop. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const settle = () => {
    settled = true;
  };
  promise.then(settle, settle);
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

describe("LLAMA_CACHE_BYTES", () => {
  it("is the room of all sequences together, on the native engine and on TensorFlow's", async () => {
    const tensorflow = await openTensorflowEngine({
      LLAMA_CACHE_BYTES: env.LLAMA_CACHE_BYTES,
      LLAMA_TF_BACKEND: "cpu",
    });
    const other = await tensorflow.load(llama.checkpoint.weights);
    for (const limited of [model, other]) {
      expect(limited.cache).toEqual({ tokens: room, page: 1 });
      const [first, second] = [
        await limited.createSequence({ capacity: 120 }),
        await limited.createSequence({ capacity: 80 }),
      ];
      const refused = { code: "OUT_OF_MEMORY", message: expect.stringContaining("1 tokens") };
      await expect(limited.createSequence({ capacity: 1 })).rejects.toMatchObject(refused);
      second.close();
      const third = await limited.createSequence({ capacity: 80 });
      for (const sequence of [first, third]) sequence.close();
    }
    await other.close();
  });

  it("left out, is a share of the memory that is left", () => {
    expect(roomy.model.cache.tokens * tokenBytes).toBeGreaterThan(1e8);
    expect(roomy.model.cache.tokens).toBeLessThan(2 ** 50);
  });
});

describe("a generation that does not fit beside the running ones", () => {
  it("waits its turn in order, a small one does not overtake, and all say what they say alone", async () => {
    const requests = [long, long, { ...long, max_new_tokens: 1 }, long, { ...long, max_new_tokens: 190 }, long];
    const ended: number[] = [];
    const texts = await Promise.all(
      requests.map(async (options, i) => {
        const text = await llama.generate("a", { ...options, seed: i }).text();
        ended.push(i);
        return text;
      }),
    );
    // The third fits beside the second.
    expect(ended).toEqual([0, 2, 1, 3, 4, 5]);
    for (const [i, options] of requests.entries()) {
      expect(texts[i]).toBe(await roomy.generate("a", { ...options, seed: i }).text());
    }
  });

  it("leaves the queue at once when it is aborted, and the one behind it moves up", async () => {
    const running = llama.generate("a", long)[Symbol.asyncIterator]();
    await running.next();
    const controller = new AbortController();
    const waiting = llama.generate("a", { ...long, signal: controller.signal }).text();
    const behind = llama.generate("a", { ...long, max_new_tokens: 20 }).text();
    expect(await isSettled(waiting)).toBe(false);
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    expect(await behind).not.toBe("");
    await running.return();
    expect(await llama.generate("a", { ...long, max_new_tokens: 190 }).text()).not.toBe("");
  });

  it("is refused when too many wait already", async () => {
    const admission = new CacheAdmission(model.cache, 2);
    const create = () => model.createSequence({ capacity: 150 });
    const first = await admission.open(150, create);
    const waiting = [admission.open(150, create), admission.open(150, create)];
    await expect(admission.open(150, create)).rejects.toMatchObject({
      code: "QUEUE_FULL",
      message: "2 requests wait for room in the key/value cache",
    });
    first.close();
    first.close();
    for (const next of waiting) (await next).close();
    (await admission.open(room, () => model.createSequence({ capacity: room }))).close();
  });

  it("waits for the next end where the device has less left than planned", async () => {
    const elsewhere = await model.createSequence({ capacity: 100 });
    const admission = new CacheAdmission(model.cache);
    const first = await admission.open(60, () => model.createSequence({ capacity: 60 }));
    const second = admission.open(110, () => model.createSequence({ capacity: 110 }));
    const third = admission.open(10, () => model.createSequence({ capacity: 10 }));
    expect(await isSettled(second)).toBe(false);
    elsewhere.close();
    first.close();
    for (const next of [second, third]) (await next).close();
  });
});

describe("a generation that can never fit", () => {
  it("is refused with the largest number that would fit, which does", async () => {
    const prompt = "a".repeat(50);
    const { length } = llama.tokenizer.encode(prompt);
    const fits = room - length - 1;
    const generate = (text: string, max_new_tokens: number) =>
      llama.generate(text, { temperature: 0, max_new_tokens }).text();
    await expect(generate(prompt, fits + 1)).rejects.toMatchObject({
      code: "OUT_OF_MEMORY",
      message: `max_new_tokens is ${fits + 1}; beside a prompt of ${length + 1} tokens ${fits} fit into the key/value cache of ${room} tokens`,
    });
    expect(await generate(prompt, fits)).not.toBe("");
    const longest = "羊".repeat(room - 3);
    expect(llama.tokenizer.encode(longest).length + 1).toBe(room - 1);
    await expect(generate(`${longest}羊`, 1)).rejects.toMatchObject({
      code: "OUT_OF_MEMORY",
      message: `the prompt has ${room} tokens; ${room - 1} fit into the key/value cache of ${room} tokens`,
    });
    expect(await llama.generate(longest, { temperature: 0, max_new_tokens: 1 }).text()).toBeDefined();
    await expect(generate("a", 0)).rejects.toMatchObject({ code: "ENGINE_ARGUMENT" });
  });
});
