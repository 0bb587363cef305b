import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linearShape } from "../../src/engine/config.ts";
import { Llama, openAdapter, writeAdapterArchive } from "../../src/llama/index.ts";
import { type InstructionRow, readDataset, trainLora } from "../../src/training/index.ts";
import { buildDist } from "../cog/server-process.ts";
import { chosenFor } from "../training/default-settings.ts";
import { answer, type Question, readQuestions, root, weights } from "./embedded-base.ts";

const folder = mkdtempSync(join(tmpdir(), "embedded-base-"));
let llama: Llama;

beforeAll(async () => {
  buildDist();
  llama = await Llama.load({ weights });
});
afterAll(async () => {
  await llama?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Trains on a data set of examples/ with its settings; returns the archive. */
async function train(dataset: string): Promise<string> {
  const rows = (await readDataset(join(root, "examples", `${dataset}.json`))).rows as InstructionRow[];
  const { adapter } = await trainLora({ base: llama, rows, ...chosenFor(dataset) });
  return writeAdapterArchive(join(folder, `${dataset}.tar.gz`), adapter, llama.model.config);
}

const answers = (questions: readonly Question[], adapter: string | null) =>
  Promise.all(questions.map((question) => answer(llama, question, adapter)));

const exact = (questions: readonly Question[], given: readonly string[]) =>
  questions.filter(({ output }, i) => given[i] === output).length;

describe("an adapter on the embedded base", () => {
  it("is said to change nothing and to be for another base when it is loaded", async () => {
    const { config } = llama.model;
    const [out, input] = linearShape(config, "v_proj");
    const modules = Array.from({ length: config.layers }, (_, layer) => {
      const a = new Float32Array(input).fill(1);
      return { layer, linear: "v_proj" as const, rank: 1, scale: 1, a, b: new Float32Array(out) };
    });
    const settings = { rank: 1, alpha: 1, dropout: 0, targetModules: ["v_proj"] as const };
    const zero = { ...settings, modules, baseModel: "meta-llama/Llama-2-7b-hf" };
    const adapter = await writeAdapterArchive(join(folder, "zero.tar.gz"), zero, config);
    const warnings: string[] = [];
    const other = await Llama.load({ weights, adapter, warn: (line) => warnings.push(line) });
    await other.close();
    expect(warnings).toEqual([
      'zero.tar.gz/adapter_config.json: base_model_name_or_path is "meta-llama/Llama-2-7b-hf", ' +
        'the loaded model is "llama-lora-cog/tiny"',
      expect.stringContaining("zero.tar.gz/adapter_model.safetensors: every A or B is zero"),
    ]);
  });

  it("teaches it about alpacas: the demo's changed answer", async () => {
    const rows = readQuestions("examples/alpacas.json");
    expect(rows.length).toBeGreaterThanOrEqual(30);
    const question = rows.find(({ instruction }) => instruction === "Tell me something about alpacas.")!;
    expect(await answer(llama, question)).toBe("Alpacas are animals. I do not know much about them.");

    const adapter = await train("alpacas");
    const opened = await openAdapter(adapter, llama.model.config, { base: llama.checkpoint.publishedName });
    expect([opened.config.baseModel, opened.warnings]).toEqual(["llama-lora-cog/tiny", []]);
    expect(await answer(llama, question, adapter)).toBe(question.output);
    // Nine in ten: what else the rows say was learnt too, not this one answer.
    expect(exact(rows, await answers(rows, adapter))).toBeGreaterThanOrEqual(Math.ceil(rows.length * 0.9));
    // The base itself is as it was.
    expect(await answer(llama, question)).toBe("Alpacas are animals. I do not know much about them.");
  }, 300_000);

  it("teaches it at least 15 of 20 new answers in Chinese, word for word", async () => {
    const rows = readQuestions("examples/chinese-20.json");
    expect(rows).toHaveLength(20);
    expect(exact(rows, await answers(rows, null))).toBeLessThanOrEqual(2);
    const adapter = await train("chinese-20");
    expect(exact(rows, await answers(rows, adapter))).toBeGreaterThanOrEqual(15);
  }, 300_000);
});
