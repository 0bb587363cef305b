import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Engine } from "../../../src/engine/engine.ts";
import { openEngine } from "../../../src/engine/open.ts";
import { openAdapter } from "../../../src/llama/adapter/index.ts";
import { weightedSum } from "../../../src/llama/adapter/weighted-sum.ts";
import { openCheckpoint, readSafetensorsHeader } from "../../../src/llama/checkpoint/index.ts";
import { main } from "../../../src/llama/cli/index.ts";
import { withOwnAdapter } from "../../../src/llama/generation/own-adapter.ts";
import { tinyConfig } from "../generation/tiny-checkpoint.ts";
import { kinds, servedLogits, tokensOf, writeBases, writeKind } from "./kinds.ts";

// Every 23rd of PEFT 0.21.2's logits in float32, by bench/peft-check.ts --golden.
const golden = JSON.parse(readFileSync(join(import.meta.dirname, "fixtures", "peft-kinds.json"), "utf8"));
/** PEFT's logits and ours are both sums in float32, of other orders; those kept are rounded to 5 decimals. */
const tolerance = 1e-4;

let folder: string;
let engine: Engine;
let temporary: string;
const base = (name: string) => join(folder, "bases", name);
const adapter = (name: string) => join(folder, name);
const kindOf = (name: string) => kinds.find((kind) => kind.name === name)!;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "adapter-kinds-"));
  temporary = join(folder, "tmp");
  mkdirSync(temporary);
  vi.stubEnv("TMPDIR", temporary);
  engine = await openEngine(process.env);
  await writeBases(join(folder, "bases"));
  for (const kind of kinds) await writeKind(adapter(kind.name), kind);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

function expectGolden(logits: Float32Array, name: string): void {
  const found = Array.from({ length: golden[name].length }, (_, i) => logits[i * 23]!);
  const difference = Math.max(...found.map((value, i) => Math.abs(value - golden[name][i])));
  expect(difference).toBeLessThan(tolerance);
}

describe("the logits of a model served with an adapter are PEFT's", () => {
  it.each(kinds)("$name", async (kind) => {
    const { logits } = await servedLogits(engine, base(kind.base), adapter(kind.name), tokensOf(kind));
    expectGolden(logits, kind.name);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("for the weighted sum of two", async () => {
    const { weights } = await openCheckpoint(base("plain"));
    const [a, b] = [
      await openAdapter(adapter("plain"), weights.config),
      await openAdapter(adapter("rslora"), weights.config),
    ];
    const parts = [
      { ...a, weight: 0.7 },
      { ...b, weight: -0.3 },
    ];
    const model = await engine.load(weights);
    const sum = await model.createAdapter(weightedSum(parts, weights.config, 2 ** 28).modules);
    expectGolden(await model.logits(tokensOf(kindOf("plain")), sum), "sum");
    await model.close();
  });
});

describe("an adapter that changes the model's own weights", () => {
  it.each([
    ["dora", "DoRA (use_dora)"],
    ["head", "a pair on lm_head"],
    ["embedding", "a pair on model.embed_tokens"],
    ["tied-tokens", "trained tokens of model.embed_tokens.weight"],
    ["grown", "a trained lm_head.weight, a trained model.embed_tokens.weight"],
  ])("is refused in a request, with the way out: %s", async (name, features) => {
    await expect(openAdapter(adapter(name), tinyConfig)).rejects.toMatchObject({
      code: "ADAPTER_UNSUPPORTED",
      message: `${name}: has ${features}, and so changes the model's own weights`,
      hint: expect.stringMatching(/COG_WEIGHTS.*llama-lora merge/),
    });
  });

  it("says what is merged and how large it is, and brings the tokenizer of a grown vocabulary", async () => {
    const log = vi.fn();
    const plain = await openCheckpoint(base("plain"));
    const served = await withOwnAdapter(plain, adapter("grown"), { log, warn: log });
    const changed = "Merging the adapter into the model: 8 of its 21 tensors, 0.1 MB in the temporary folder";
    expect(log.mock.calls).toEqual([[changed]]);
    const { tokenizer, config, weights } = served.checkpoint;
    expect(config.vocabSize).toBe(tinyConfig.vocabSize + 3);
    expect(tokenizer.vocabSize).toBe(tinyConfig.vocabSize + 3);
    expect(tokenizer.encode("马").at(-1)).toBe(tinyConfig.vocabSize + 1);
    const name = "model.layers.0.self_attn.k_proj.weight";
    expect(weights.tensors.get(name)).toEqual(plain.weights.tensors.get(name));
    await served.remove();
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("whose vocabulary has grown without a tokenizer is served with a warning", async () => {
    await writeKind(adapter("bare"), kindOf("grown"));
    rmSync(join(adapter("bare"), "tokenizer.model"));
    const warn = vi.fn();
    const served = await withOwnAdapter(await openCheckpoint(base("plain")), adapter("bare"), { log: () => {}, warn });
    await served.remove();
    expect(warn.mock.calls.flat()).toEqual([
      expect.stringContaining("275 embeddings instead of 272, and no tokenizer"),
    ]);
  });

  it("that grows the embeddings without the head is refused", async () => {
    const kind = kindOf("grown");
    await writeKind(adapter("half"), { ...kind, fields: { modules_to_save: ["embed_tokens"] } });
    const serving = withOwnAdapter(await openCheckpoint(base("plain")), adapter("half"), {
      log: () => {},
      warn: () => {},
    });
    await expect(serving).rejects.toMatchObject({
      code: "ADAPTER_MISMATCH",
      message: "the adapter makes 275 embeddings and a head of 272 rows",
    });
  });

  it("of numbers that are not finite is refused, and leaves nothing behind", async () => {
    await writeKind(adapter("broken"), kindOf("saved"));
    const file = join(adapter("broken"), "adapter_model.safetensors");
    const bytes = readFileSync(file);
    const { tensors } = await readSafetensorsHeader(file);
    bytes.writeFloatLE(Number.NaN, tensors.get("base_model.model.lm_head.weight")!.offset + 4 * 32 * 270);
    writeFileSync(file, bytes);
    const serving = withOwnAdapter(await openCheckpoint(base("plain")), adapter("broken"), {
      log: () => {},
      warn: () => {},
    });
    await expect(serving).rejects.toMatchObject({
      code: "ADAPTER_CORRUPT",
      message: 'the adapter makes "lm_head.weight" hold a number that is not finite, in row 0 or later',
    });
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("of single tokens is refused for ids that there are not, and beside other changes of the same weight", async () => {
    const kind = kindOf("tokens");
    const serve = async (fields: Record<string, unknown>, of = "plain") => {
      await writeKind(adapter("few"), { ...kind, fields });
      return withOwnAdapter(await openCheckpoint(base(of)), adapter("few"), { log: () => {}, warn: () => {} });
    };
    await expect(serve({ trainable_token_indices: [272] })).rejects.toMatchObject({
      code: "ADAPTER_MISMATCH",
      message: "few/adapter_config.json: trainable_token_indices: 272, the model has 272 tokens",
    });
    const both = serve({ trainable_token_indices: [3], target_modules: ["q_proj", "embed_tokens"] });
    await expect(both).rejects.toThrow(
      "has trained tokens of model.embed_tokens.weight, which is changed as a whole too",
    );
    const tied = serve({ trainable_token_indices: { lm_head: [3] } }, "tied");
    await expect(tied).rejects.toThrow("has trained tokens of lm_head.weight, which is one with the embedding");
  });

  it("with biases is refused on linears without", async () => {
    await writeKind(adapter("biases"), { ...kindOf("bias"), base: "plain" });
    await expect(openAdapter(adapter("biases"), tinyConfig)).rejects.toMatchObject({
      code: "ADAPTER_UNSUPPORTED",
      message: expect.stringContaining("lora_bias on model.layers.0.self_attn.q_proj, which has no bias"),
    });
  });
});

describe("llama-lora merge", () => {
  const merge = async (...words: string[]) => {
    let text = "";
    const spies = (["stdout", "stderr"] as const).map((name) =>
      vi.spyOn(process[name], "write").mockImplementation((chunk, ...rest) => {
        text += chunk;
        const taken = rest.find((value) => typeof value === "function") as (() => void) | undefined;
        taken?.();
        return true;
      }),
    );
    const exit = await main(["merge", ...words]).finally(() => {
      for (const spy of spies) spy.mockRestore();
    });
    return { exit, text };
  };

  it.each(["dora-head", "grown", "tied-saved-head", "bias"])("writes a model with PEFT's logits: %s", async (name) => {
    const kind = kindOf(name);
    const out = join(folder, `merged-${name}`);
    const { exit, text } = await merge(base(kind.base), adapter(name), "-o", out);
    expect(text).toContain("Written to");
    expect(exit).toBe(0);
    const model = await engine.load((await openCheckpoint(out)).weights);
    expectGolden(await model.logits(tokensOf(kind)), name);
    await model.close();
    const config = JSON.parse(readFileSync(join(out, "config.json"), "utf8"));
    expect(config).toMatchObject({
      vocab_size: tinyConfig.vocabSize + (kind.grownBy ?? 0),
      tie_word_embeddings: false,
    });
    const owner = kind.grownBy === undefined ? base(kind.base) : adapter(name);
    expect(readFileSync(join(out, "tokenizer.model"))).toEqual(readFileSync(join(owner, "tokenizer.model")));
  });

  it("keeps the base's types, whatever an adapter's own weights are stored as", async () => {
    await writeKind(adapter("halves"), kindOf("saved"), "F16");
    await merge(base("plain"), adapter("halves"), "-o", join(folder, "merged-halves"));
    const { weights } = await openCheckpoint(join(folder, "merged-halves"));
    expect(new Set([...weights.tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(["F32"]));
  });

  it.each([
    [["dora", "--scale", "0.5"], "which cannot be scaled (0.5)"],
    [["dora", "plain"], "has DoRA on model.layers.0.self_attn.q_proj, which another of the adapters changes too"],
    [["grown", "grown"], "of its own, as another of the adapters has"],
  ])("refuses what it cannot add up: %s", async (words, message) => {
    const paths = words.map((word) => (kinds.some(({ name }) => name === word) ? adapter(word) : word));
    const { exit, text } = await merge(base("plain"), ...paths, "-o", join(folder, "never"));
    expect(text).toContain(message);
    expect(exit).toBe(1);
    expect(readdirSync(folder)).not.toContain("never");
  });
});

it("a folder without room for the merged weights is told as such", async () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  vi.stubEnv("TMPDIR", join(file, "nowhere"));
  const serving = withOwnAdapter(await openCheckpoint(base("plain")), adapter("dora"), {
    log: () => {},
    warn: () => {},
  });
  await expect(serving).rejects.toMatchObject({ code: "TEMPORARY_FOLDER" });
  vi.stubEnv("TMPDIR", temporary);
});
