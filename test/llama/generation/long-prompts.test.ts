import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openNativeEngine } from "../../../src/engine/native/index.ts";
import { PromptEncoder } from "../../../src/llama/generation/prompt-encoder.ts";
import { Llama } from "../../../src/llama/index.ts";
import { writeTinyCheckpoint } from "./tiny-checkpoint.ts";

const context = 131_072;
let folder: string;
let llama: Llama;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "long-prompts-"));
  await writeTinyCheckpoint(folder);
  const file = join(folder, "config.json");
  const config = JSON.parse(readFileSync(file, "utf8"));
  writeFileSync(file, JSON.stringify({ ...config, max_position_embeddings: context }));
  llama = await Llama.load({ weights: folder, engine: await openNativeEngine({ LLAMA_DEVICE: "cpu" }) });
});
afterAll(async () => {
  await llama.close();
  rmSync(folder, { recursive: true });
});

/** Turns of the event loop while `work` is under way, and the longest time between two of them, milliseconds. */
async function watch<T>(work: Promise<T>): Promise<{ result: T; turns: number; longest: number }> {
  let isDone = false;
  const settled = work.finally(() => {
    isDone = true;
  });
  let turns = 0;
  let longest = 0;
  for (let last = performance.now(); !isDone; turns++) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }
  return { result: await settled, turns, longest };
}

it("a prompt of 130,000 tokens is handed on whole", async () => {
  const prompt = "羊".repeat(130_000);
  const tokens = await new PromptEncoder(llama.tokenizer, context).encode(prompt);
  expect(tokens.length).toBeGreaterThan(129_000);
  expect(tokens[0]).toBe(llama.tokenizer.bosId);
  expect(tokens.subarray(1)).toEqual(llama.tokenizer.encode(prompt));
});

it("a prompt longer than the context is PROMPT_TOO_LONG, whatever its size", async () => {
  for (const length of [context, 1_000_000, 6_000_000, 25_000_000]) {
    await expect(llama.generate("羊".repeat(length)).text()).rejects.toMatchObject({ code: "PROMPT_TOO_LONG" });
  }
});

it("18 MB in one word leave the event loop to others every few milliseconds", async () => {
  for (const word of ["abcdefghijklmnopqrstuvwxyz", "羊"]) {
    const prompt = word.repeat(18_000_000 / Buffer.byteLength(word));
    const work = llama.generate(prompt).text();
    const { result, turns, longest } = await watch(work.catch((error: { code?: string }) => error.code));
    expect(result).toBe("PROMPT_TOO_LONG");
    expect(turns).toBeGreaterThan(50);
    // A tenth of what it took in one piece on an idle machine; this one may be busy.
    expect(longest).toBeLessThan(1500);
  }
});

it("others are served while a long prompt is encoded, and leaving ends it at once, in its turn or waiting for it", async () => {
  const controller = new AbortController();
  const prompt = "ab".repeat(9_000_000);
  let ended = 0;
  const long = [1, 2].map(() =>
    llama
      .generate(prompt, { signal: controller.signal })
      .text()
      .catch((error: Error) => error.message)
      .finally(() => ended++),
  );
  expect(await llama.generate("the llama", { temperature: 0, max_new_tokens: 8 }).text()).not.toBe("");
  expect(ended).toBe(0);
  controller.abort(new Error("enough"));
  expect(await Promise.all(long)).toEqual(["enough", "enough"]);
  expect(await llama.generate("ab".repeat(10_000), { temperature: 0, max_new_tokens: 1 }).text()).toBeDefined();
});
