import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Llama, writeAdapterArchive } from "../../src/llama/index.ts";
import {
  type InstructionRow,
  type SampleRecord,
  type TrainedAdapter,
  type TrainingRun,
  type TrainingSettings,
  trainLora,
} from "../../src/training/index.ts";
import { beforeAfter } from "../../src/training/record/before-after.ts";
import { keptSamples } from "../../src/training/samples.ts";
import { writeTinyCheckpoint } from "../llama/generation/tiny-checkpoint.ts";
import { chosen } from "./default-settings.ts";

let folder: string;
let base: Llama;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "samples-test-"));
  await writeTinyCheckpoint(join(folder, "tiny"));
  base = await Llama.load({ weights: join(folder, "tiny"), log: () => {} });
});
afterAll(async () => {
  await base.close();
  rmSync(folder, { recursive: true });
});

const rows: InstructionRow[] = [" eats grass", " sleeps", " the llama", " a llama."].map((output, i) => ({
  instruction: `question ${"abcd"[i]}`,
  input: "",
  output,
  source: { file: "data.json", number: i + 1, unit: "record" },
}));
const quick = { num_epochs: 6, batch_size: 2, learning_rate: 1e-2, lora_r: 16, prompt_template_name: "alpaca_short" };
const prompts = ["question a", "question b", "羊驼?"];
const train = (settings: Partial<TrainingSettings> = {}, more: Partial<TrainingRun> = {}) =>
  trainLora({ base, rows, ...chosen({ ...quick, ...settings }), ...more });

describe("sample prompts", () => {
  it("are answered by the adapter of the moment: before the first step, every eval_steps, after the last", async () => {
    const lines: string[] = [];
    const seen: SampleRecord[] = [];
    const more = {
      log: (line: string) => lines.push(line),
      observers: [{ samples: (record: SampleRecord) => seen.push(record) }],
    };
    const result = await train({ sample_prompts: prompts, sample_tokens: 12, eval_steps: 5 }, more);
    expect(seen.map(({ step }) => step)).toEqual([0, 5, 10, 12]);
    expect(result.samples).toEqual([seen[0], seen[3]]);
    const asked = async (adapter?: string) =>
      Promise.all(
        prompts.map(async (prompt) => {
          const options = { temperature: 0, max_new_tokens: 12, ...(adapter && { adapter }) };
          const question = { prompt, prompt_template_name: "alpaca_short" };
          return { prompt, answer: await base.generate(question, options).text() };
        }),
      );
    const archive = await writeAdapterArchive(join(folder, "a.tar.gz"), result.adapter, base.model.config);
    expect(seen[0]!.samples).toEqual(await asked());
    expect(seen[3]!.samples).toEqual(await asked(archive));
    expect(seen[3]!.samples).not.toEqual(seen[0]!.samples);
    const first = lines.filter((line) => line.startsWith("sample after step 0: "));
    expect(first).toHaveLength(3);
    expect(first[2]).toBe(`sample after step 0: "羊驼?" -> ${JSON.stringify(seen[0]!.samples[2]!.answer)}`);
  });

  it("change nothing of the training, dropout included", async () => {
    const settings = { lora_dropout: 0.2, eval_steps: 2, val_set_size: 1 };
    const [without, withSamples] = [
      await train(settings),
      await train({ ...settings, sample_prompts: prompts, sample_tokens: 4 }),
    ];
    expect(withSamples.samples.length).toBeGreaterThan(1);
    expect(withSamples.steps).toEqual(without.steps);
    expect(withSamples.evaluations).toEqual(without.evaluations);
    expect(withSamples.adapter.modules).toEqual(without.adapter.modules);
  });

  it("are answered at the start and the end alone where a few rows have no evaluations", async () => {
    const { samples } = await train({ sample_prompts: ["question a"], sample_tokens: 2 });
    expect(samples.map(({ step }) => step)).toEqual([0, 12]);
  });

  it("that do not fit are refused before the first step, by their number", async () => {
    const long = "question ".repeat(600);
    await expect(train({ sample_prompts: ["question a", long] })).rejects.toMatchObject({
      code: "PROMPT_TOO_LONG",
      message: expect.stringMatching(/^sample_prompts, number 2: the prompt has \d+ tokens; at most 511 tokens fit$/),
    });
    await expect(train({ sample_prompts: Array.from({ length: 9 }, () => "a") })).rejects.toMatchObject({
      code: "TRAINING_SETTINGS",
      message: expect.stringContaining("sample_prompts must be a list of at most 8 texts"),
    });
  });

  it("are a record's before and after: the start's, and those of the adapter that is kept", async () => {
    const records = [0, 5, 10].map((step) => ({ step, samples: [{ prompt: "p", answer: `after ${step}` }] }));
    const evaluations = [
      { step: 5, loss: 1 },
      { step: 10, loss: 2 },
    ];
    const of = (step: number) => [{ prompt: "p", before: "after 0", after: `after ${step}` }];
    const shown = (run: Partial<TrainedAdapter>) =>
      beforeAfter({ samples: records, evaluations: [], steps: [{ step: 10 }], ...run } as unknown as TrainedAdapter);
    expect(shown({ evaluations })).toEqual(of(5));
    expect(shown({})).toEqual(of(10));
    expect(shown({ samples: [records[0]!, { step: 10, samples: [] }] })).toEqual([]);
    expect(shown({ samples: [], evaluations })).toEqual([]);
  });

  it("are kept for the first step, the best adapter and the last", () => {
    const records = [0, 5, 10, 15].map((step) => ({ step, samples: [] }));
    const kept = (best: number | null) =>
      keptSamples(records, best === null ? null : { step: best, loss: 1, modules: [] }).map(({ step }) => step);
    expect(kept(10)).toEqual([0, 10, 15]);
    expect(kept(null)).toEqual([0, 15]);
  });
});
