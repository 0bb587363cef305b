import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { extract } from "tar";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { Llama, openAdapter } from "../../../src/llama/index.ts";
import {
  type AdapterModule,
  AdapterOutput,
  factsOf,
  readDataset,
  readRanks,
  trainLora,
} from "../../../src/training/index.ts";
import { modelDigest } from "../../../src/training/record/digests.ts";
import { recordFiles } from "../../../src/training/record/files.ts";
import { writeTinyCheckpoint } from "../../llama/generation/tiny-checkpoint.ts";
import { chosen } from "../default-settings.ts";

let folder: string;
let base: Llama;
let data: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "archive-test-"));
  await writeTinyCheckpoint(join(folder, "tiny"));
  base = await Llama.load({ weights: join(folder, "tiny"), log: () => {} });
  data = join(folder, "data.json");
  const rows = Array.from({ length: 60 }, (_, i) => ({
    instruction: `question ${i % 7}`,
    input: "",
    output: " grass",
  }));
  writeFileSync(data, JSON.stringify(rows));
});
afterAll(async () => {
  await base.close();
  rmSync(folder, { recursive: true });
});

/** A training as train.ts does it; the archive, and the folder that it unpacks to. */
async function trained(name: string, lora_dropout = 0.1) {
  const work = join(folder, name);
  mkdirSync(join(work, "files"), { recursive: true });
  const { rows } = await readDataset(data);
  const facts = await factsOf({ base, rows, file: data, ranks: readRanks({}) });
  const run = chosen({
    ...{ num_epochs: 2, lora_dropout, val_set_size: 6, batch_size: 9, prompt_template_name: "none" },
    ...{ sample_prompts: ["question 1"], sample_tokens: 4 },
  });
  const output = (modules: readonly AdapterModule[]) => AdapterOutput.open(work, { model: base.model, modules, facts });
  const result = await trainLora({ base, rows, ...run, output });
  await extract({ file: result.file!, cwd: join(work, "files") });
  return { result, facts, file: result.file!, files: join(work, "files") };
}

describe("the archive of a training", () => {
  it("has the same bytes for the same seed", async () => {
    const [first, second] = [await trained("first"), await trained("second")];
    expect(readFileSync(second.file).equals(readFileSync(first.file))).toBe(true);
    expect(readFileSync((await trained("other", 0)).file).equals(readFileSync(first.file))).toBe(false);
  });

  it("says what the adapter was made of, and nothing of the machine's folders or its user", async () => {
    const { files, result } = await trained("record");
    expect(readdirSync(files).toSorted()).toEqual([
      ...["README.md", "adapter_config.json", "adapter_model.safetensors", "loss.svg"],
      ...["metrics.jsonl", "prompt_template.json", "training.json"],
    ]);
    const record = JSON.parse(readFileSync(join(files, "training.json"), "utf8"));
    expect(record).toMatchObject({
      settings: { seed: 42, lora_r: 8, num_epochs: 2, batch_size: 9 },
      prompt_template: { prompt_template_name: "none" },
      base: { name: base.name, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      data: { rows: 60, training_rows: 54, file_sha256: createHash("sha256").update(readFileSync(data)).digest("hex") },
      steps: 12,
      epochs: 2,
      losses: { first: result.steps[0]!.loss, last: result.steps.at(-1)!.loss },
      evaluations: result.evaluations,
      samples: [{ prompt: "question 1", before: expect.any(String), after: expect.any(String) }],
      versions: { node: process.versions.node },
    });
    const lines = readFileSync(join(files, "metrics.jsonl"), "utf8").trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toHaveLength(14);
    expect(JSON.parse(lines[6]!)).toEqual({ step: 6, validation_loss: result.evaluations[0]!.loss });
    for (const name of readdirSync(files).filter((each) => !each.endsWith(".safetensors"))) {
      const text = readFileSync(join(files, name), "utf8");
      for (const secret of [folder, tmpdir(), hostname()]) expect(text).not.toContain(secret);
      // "root" is a word of its own.
      if (userInfo().username.length > 4) expect(text).not.toContain(userInfo().username);
    }
  });

  it("is read as an adapter, beside whose files the others do not matter", async () => {
    const { file, files, result } = await trained("read");
    const modules = result.adapter.modules;
    expect((await openAdapter(file, base.model.config)).modules).toEqual(modules);
    writeFileSync(join(files, "metrics.jsonl"), "x".repeat(1e6));
    expect((await openAdapter(files, base.model.config)).modules).toEqual(modules);
  });

  it("has a model card whose texts of users are no markup", async () => {
    const { result, facts } = await trained("card");
    const prompt = '# [a](http://evil) | <img src="x" onerror="y"> `code`\n- *b*';
    const known = { ...facts, base: { ...facts.base, name: "llama/a: b", isPublished: true } };
    const answered = (step: number, answer: string) => ({ step, samples: [{ prompt, answer }] });
    const kept = result.evaluations.toSorted((a, b) => a.loss - b.loss)[0]!.step;
    const samples = [answered(0, "no"), answered(kept, "yes"), answered(100, "later")];
    const [card] = recordFiles({ ...result, samples }, known);
    const [, front, body] = /^---\n([\s\S]+?)\n---\n([\s\S]+)$/.exec(card!.text)!;
    expect(parse(front!)).toEqual({
      ...{ base_model: "llama/a: b", library_name: "peft", pipeline_tag: "text-generation" },
      tags: ["llama", "lora"],
    });
    expect(body).toContain(
      '| \\# \\[a\\]\\(http\\://evil\\) \\| &lt;img src="x" onerror="y"&gt; \\`code\\`<br>- \\*b\\* | no | yes |',
    );
    expect(body).toContain("| `learning_rate` |");
    expect(body).toContain("![Loss of each step](loss.svg)");
  });
});

describe("the digest of a base", () => {
  it("is another for other weights, also in the middle of a large file, and the same under another name", async () => {
    const digestOf = async (name: string, change: (bytes: Buffer) => void) => {
      const place = join(folder, name);
      mkdirSync(place);
      const weights = Buffer.alloc(24 * 2 ** 20, 7);
      change(weights);
      writeFileSync(join(place, "model.safetensors"), weights);
      writeFileSync(join(place, "README.txt"), name);
      return modelDigest({ folder: place, file: null });
    };
    const plain = await digestOf("plain", () => {});
    expect(await digestOf("copied", () => {})).toBe(plain);
    expect(await digestOf("tuned", (weights) => weights.fill(8, 2 ** 20))).not.toBe(plain);
    expect(await digestOf("ended", (weights) => weights.fill(8, weights.length - 1))).not.toBe(plain);
  });
});
