import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type FileLike, Llama, writeAdapterArchive } from "../../../src/llama/index.ts";
import { buildDist } from "../../cog/server-process.ts";
import { randomAdapter } from "../../engine/random-model.ts";
import { referenceData } from "../../reference-data.mjs";
import { kinds, writeBases, writeKind } from "../adapter/kinds.ts";
import { modulesOf, smallModel } from "../adapter/small-model.ts";
import { tinyConfig, writeTinyCheckpoint } from "./tiny-checkpoint.ts";

let folder: string;
let llama: Llama;
beforeAll(async () => {
  buildDist();
  folder = mkdtempSync(join(tmpdir(), "generation-test-"));
  await writeTinyCheckpoint(join(folder, "tiny"));
  llama = await Llama.load({ weights: join(folder, "tiny") });
});
afterAll(async () => {
  await llama.close();
  rmSync(folder, { recursive: true });
});

const greedy = { temperature: 0, max_new_tokens: 24 };
const prompts = ["the llama", "a", "", "and sleeps. 羊", "the llama eats grass and the llama sleeps"];

/** An adapter for the tiny model; each seed another. */
async function adapterFile(seed: number): Promise<string> {
  const file = join(folder, `adapter-${seed}.tar.gz`);
  const targetModules = ["q_proj", "down_proj"] as const;
  const modules = randomAdapter(tinyConfig, seed, targetModules, 4, 4);
  const adapter = { modules, rank: 4, alpha: 16, dropout: 0, targetModules, baseModel: "tiny" };
  return existsSync(file) ? file : writeAdapterArchive(file, adapter, tinyConfig);
}

describe("generate", () => {
  it("draws each token from the logits of all before it", async () => {
    const ids = [llama.tokenizer.bosId!, ...llama.tokenizer.encode("the llama")];
    const promptLength = ids.length;
    for (let i = 0; i < 10; i++) {
      const logits = (await llama.model.logits(Int32Array.from(ids))).slice(-tinyConfig.vocabSize);
      ids.push(logits.indexOf(Math.max(...logits)));
    }
    const decoder = llama.tokenizer.decoder(ids.slice(0, promptLength));
    const expected =
      ids
        .slice(promptLength)
        .map((id) => decoder.push(id))
        .join("") + decoder.flush();
    expect(await llama.generate("the llama", { ...greedy, max_new_tokens: 10 }).text()).toBe(expected);
  });

  it("gives the same text alone and beside others, greedy and drawn, with adapters and without", async () => {
    const requests = prompts.flatMap((prompt, i) => [
      { prompt, options: greedy },
      { prompt, options: { ...greedy, temperature: 0.9, top_p: 0.95, top_k: 40, seed: i } },
      { prompt, options: { ...greedy, temperature: 1.2, repetition_penalty: 1.3, seed: i, adapter: "" } },
    ]);
    for (const { options } of requests)
      if ("adapter" in options) options.adapter = await adapterFile(1 + (options.seed % 2));
    const alone: string[] = [];
    for (const { prompt, options } of requests) alone.push(await llama.generate(prompt, options).text());
    const together = await Promise.all(requests.map(({ prompt, options }) => llama.generate(prompt, options).text()));
    expect(together).toEqual(alone);
    expect(new Set(alone).size).toBeGreaterThan(prompts.length * 2);
  });

  it("gives the same text for the same seed, and says which seed it drew", async () => {
    const options = { max_new_tokens: 30, temperature: 1 };
    const first = llama.generate("a", options);
    const text = await first.text();
    expect(await llama.generate("a", { ...options, seed: first.seed }).text()).toBe(text);
    expect(await llama.generate("a", { ...options, seed: first.seed + 1 }).text()).not.toBe(text);
    expect(llama.generate("a").seed).not.toBe(first.seed);
  });

  it("streams pieces that join to the whole text, none of them empty", async () => {
    const generation = llama.generate("羊", { temperature: 2, seed: 3, max_new_tokens: 100 });
    const pieces: string[] = [];
    for await (const { text } of generation) pieces.push(text);
    expect(pieces).not.toContain("");
    expect(pieces.length).toBeGreaterThan(20);
    expect(pieces.join("")).toBe(await llama.generate("羊", { temperature: 2, seed: 3, max_new_tokens: 100 }).text());
    expect(generation).toMatchObject({ generatedTokens: 100, finishReason: "length" });
    expect(generation.tokensPerSecond).toBeGreaterThan(0);
  });

  it("ends before a stop string, wherever it lies", async () => {
    const text = await llama.generate("the llama", greedy).text();
    for (const [from, to] of [
      [3, 6],
      [5, 6],
      [4, 12],
    ] as const) {
      const stop = text.slice(from, to);
      const generation = llama.generate("the llama", { ...greedy, stop: ["never in there", stop] });
      expect(await generation.text()).toBe(text.slice(0, text.indexOf(stop)));
      expect(generation.finishReason).toBe("stop");
    }
    expect(await llama.generate("the llama", { ...greedy, stop: [`${text}!`] }).text()).toBe(text);
  });

  it("runs to the end of the context and no further", async () => {
    const generation = llama.generate("a".repeat(500), { ...greedy, max_new_tokens: 4096 });
    await generation.text();
    const prompt = llama.tokenizer.encode("a".repeat(500)).length + 1;
    expect(generation).toMatchObject({ finishReason: "length", generatedTokens: 512 - prompt });
  });

  it("refuses a prompt that does not fit, naming both numbers", async () => {
    const { length } = llama.tokenizer.encode("a".repeat(600));
    await expect(llama.generate("a".repeat(600)).text()).rejects.toMatchObject({
      code: "PROMPT_TOO_LONG",
      message: `the prompt has ${length + 1} tokens; at most 511 tokens fit`,
    });
    await expect(llama.generate("a".repeat(10_000_000)).text()).rejects.toThrow("10000000 characters");
  });

  it("ends with the signal's reason when it is aborted, and leaves the others running", async () => {
    const alone = await llama.generate("a", greedy).text();
    const controller = new AbortController();
    const other = llama.generate("a", greedy).text();
    const pieces: string[] = [];
    const aborted = (async () => {
      for await (const { text } of llama.generate("the", { max_new_tokens: 400, seed: 1, signal: controller.signal })) {
        pieces.push(text);
        if (pieces.length === 3) controller.abort(new Error("enough"));
      }
    })();
    await expect(aborted).rejects.toThrow("enough");
    expect(pieces).toHaveLength(3);
    expect(await other).toBe(alone);
    await expect(llama.generate("a", { signal: AbortSignal.abort(new Error("before")) }).text()).rejects.toThrow(
      "before",
    );
  });

  it("ends when the loop is left", async () => {
    for await (const _ of llama.generate("the", { max_new_tokens: 400, seed: 1 })) break;
    expect(await llama.generate("a", greedy).text()).not.toBe("");
  });
});

describe("adapters", () => {
  it("change the answer of the request that names one, and of no other", async () => {
    const [one, two] = [await adapterFile(1), await adapterFile(2)];
    const [base, first, second, again] = await Promise.all(
      [null, one, { path: two, name: "two.tar.gz" }, one].map((adapter) =>
        llama.generate("the", { ...greedy, adapter }).text(),
      ),
    );
    expect(new Set([base, first, second]).size).toBe(3);
    expect(again).toBe(first);
  });

  it("are used by every request when the model was loaded with one", async () => {
    const adapter = await adapterFile(1);
    const adapted = await Llama.load({ weights: join(folder, "tiny"), adapter });
    const expected = await llama.generate("the", { ...greedy, adapter }).text();
    expect(await adapted.generate("the", greedy).text()).toBe(expected);
    const other = await adapterFile(2);
    expect(await adapted.generate("the", { ...greedy, adapter: other }).text()).not.toBe(expected);
    await adapted.close();
  });

  it("may be several at once: their weighted sum, kept under the combination", async () => {
    const [one, two] = [await adapterFile(1), await adapterFile(2)];
    const answer = (adapter: FileLike[], adapter_scale?: number[]) =>
      llama.generate("the", { ...greedy, adapter, adapter_scale }).text();
    const create = vi.spyOn(llama.model, "createAdapter");
    const alone = await answer([one]);
    expect(await answer([one, two], [1, 0])).toBe(alone);
    const both = await answer([one, { path: two }]);
    expect(both).toBe(await answer([one, two], [1, 1]));
    expect(new Set([alone, await answer([two]), both, await answer([one, two], [-1, 2])]).size).toBe(4);
    expect(await answer([one], [0])).toBe(await llama.generate("the", greedy).text());
    const made = create.mock.calls.length;
    await answer([one, two], [-1, 2]);
    expect(create.mock.calls.length).toBe(made);
    create.mockRestore();
  });

  it("are refused where their weights are of another number, or they are too many", async () => {
    const one = await adapterFile(1);
    const answer = (adapter: FileLike[] | null, adapter_scale: number[]) =>
      llama.generate("the", { ...greedy, adapter, adapter_scale }).text();
    await expect(answer([one, one], [1])).rejects.toMatchObject({
      code: "ADAPTER_CONFIG",
      message: "adapter_scale: 1 given, adapter: 2 given",
    });
    await expect(answer(null, [1])).rejects.toThrow("adapter_scale: 1 given, adapter: 0 given");
    await expect(answer(Array(9).fill(one), [])).rejects.toThrow("adapter: 9 files, at most 8 are used at once");
  });

  it("that change the model's own weights are merged into them at the start, and leave nothing behind", async () => {
    const kind = kinds.find(({ name }) => name === "grown")!;
    const [base, adapter] = [join(folder, "kinds", kind.base), join(folder, "grown")];
    await writeBases(join(folder, "kinds"));
    await writeKind(adapter, kind);
    const lines: string[] = [];
    const adapted = await Llama.load({ weights: base, adapter, log: (line) => lines.push(line) });
    expect(lines.at(-1)).toMatch(/^Merging the adapter into the model: 8 of its 21 tensors, 0\.1 MB/);
    expect(adapted.model.config.vocabSize).toBe(tinyConfig.vocabSize + 3);
    expect((await adapted.generate("马", greedy).text()).length).toBeGreaterThan(0);
    await adapted.close();
    await expect(llama.generate("a", { adapter }).text()).rejects.toMatchObject({
      code: "ADAPTER_UNSUPPORTED",
      hint: expect.stringContaining("llama-lora merge"),
    });
  });

  it("are told apart by what they hold, not by where they lie", async () => {
    const path = join(folder, "upload.tar.gz");
    const answer = async (seed: number) => {
      cpSync(await adapterFile(seed), path);
      return llama.generate("the", { ...greedy, adapter: path }).text();
    };
    const answers = [await answer(1), await answer(2), await answer(1)];
    expect(answers[0]).toBe(answers[2]);
    expect(answers[0]).not.toBe(answers[1]);
  });

  it("give way to others when there are many, also while they are used", async () => {
    const expected = await llama.generate("a", { ...greedy, adapter: await adapterFile(1) }).text();
    const long = llama.generate("a", { ...greedy, adapter: await adapterFile(1) });
    const files = await Promise.all(Array.from({ length: 14 }, (_, i) => adapterFile(i + 1)));
    const texts: string[] = [];
    for await (const { text } of long) {
      texts.push(text);
      if (texts.length === 1)
        for (const adapter of files) await llama.generate("a", { max_new_tokens: 1, adapter }).text();
    }
    expect(texts.join("")).toBe(expected);
  });

  it("go on being loaded for the others when one of those who wait is canceled", async () => {
    const adapter = await adapterFile(31);
    const controller = new AbortController();
    const waiting = [controller.signal, undefined].map((signal) =>
      llama.generate("the", { ...greedy, adapter, signal }).text(),
    );
    const settled = Promise.allSettled(waiting);
    setImmediate(() => controller.abort(new Error("canceled")));
    const [first, second] = await settled;
    expect(first).toMatchObject({ status: "rejected", reason: { message: "canceled" } });
    expect(second).toMatchObject({ status: "fulfilled" });
    expect(await llama.generate("the", { ...greedy, adapter }).text()).toBe((second as { value: string }).value);
  });

  it("of another model are refused by name, at the start and in a request", async () => {
    const file = join(folder, "other.tar.gz");
    const adapter = {
      modules: modulesOf(smallModel, ["q_proj"], 2, 2),
      ...{ rank: 2, alpha: 2, dropout: 0, targetModules: ["q_proj"] as const, baseModel: "small" },
    };
    await writeAdapterArchive(file, adapter, smallModel);
    const message = expect.stringMatching(
      /^other\.tar\.gz\/.*q_proj\.lora_A\.weight": shape \[2, 32\] expected, \[2, 12\] found/,
    );
    await expect(llama.generate("a", { adapter: file }).text()).rejects.toMatchObject({
      code: "ADAPTER_MISMATCH",
      message,
    });
    await expect(Llama.load({ weights: join(folder, "tiny"), adapter: file })).rejects.toMatchObject({ message });
    expect(await llama.generate("a", greedy).text()).not.toBe("");
  });
});

describe.skipIf(!existsSync(referenceData))(
  "the reference text (needs the reference data beside the repository)",
  () => {
    it("is continued word for word, the leading space kept", async () => {
      const base = await Llama.load({ weights: join(referenceData, "data", "stories260k", "hf") });
      const cases: { prompt: string; greedy_text: string }[] = JSON.parse(
        readFileSync(join(referenceData, "golden", "forward.json"), "utf8"),
      );
      for (const { prompt, greedy_text } of cases) {
        const text = await base.generate(prompt, { temperature: 0, max_new_tokens: 80 }).text();
        expect(prompt + text).toBe(greedy_text);
      }
      await base.close();
    });
  },
);
