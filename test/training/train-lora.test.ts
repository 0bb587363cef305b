import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Llama, openAdapter, renderPrompt, writeAdapterArchive } from "../../src/llama/index.ts";
import {
  type InstructionRow,
  type Progress,
  type TrainingRun,
  type TrainingSettings,
  trainLora,
} from "../../src/training/index.ts";
import { permutation, RandomStream } from "../../src/training/random.ts";
import { writeTinyCheckpoint } from "../llama/generation/tiny-checkpoint.ts";
import { chosen, defaults } from "./default-settings.ts";

let folder: string;
let base: Llama;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "training-test-"));
  await writeTinyCheckpoint(join(folder, "tiny"));
  base = await Llama.load({ weights: join(folder, "tiny") });
});
afterAll(async () => {
  await base.close();
  rmSync(folder, { recursive: true });
});

const answers = [
  " eats grass",
  " sleeps",
  " the llama",
  " grass and grass",
  " a llama.",
  " and",
  "羊驼",
  " eats the llama",
];
const rows: InstructionRow[] = answers.map((output, i) => ({
  instruction: `question ${"abcdefgh"[i]}`,
  input: "",
  output,
  source: { file: "data.json", number: i + 1, unit: "record" },
}));
const manyRows = Array.from({ length: 60 }, (_, i) => rows[i % rows.length]!);

const quick = {
  num_epochs: 2,
  learning_rate: 1e-2,
  batch_size: 4,
  lora_dropout: 0,
  prompt_template_name: "none",
};
const train = (settings: Partial<TrainingSettings> = {}, more: Partial<TrainingRun> = {}) =>
  trainLora({ base, rows, ...chosen({ ...quick, ...settings }), ...more });

describe("trainLora", () => {
  it("gives an adapter that answers as the rows do, and ends its answers", async () => {
    const result = await train({
      num_epochs: 150,
      batch_size: 8,
      lora_r: 16,
      lora_alpha: 32,
      lora_target_modules: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
      train_on_inputs: false,
      warmup_steps: 0,
    });
    const archive = await writeAdapterArchive(join(folder, "adapter.tar.gz"), result.adapter, base.model.config);
    const generations = rows.map(({ instruction }) =>
      base.generate(renderPrompt("none", instruction), { temperature: 0, max_new_tokens: 24, adapter: archive }),
    );
    const texts = await Promise.all(generations.map((generation) => generation.text()));
    expect(texts).toEqual(answers);
    expect(generations.map(({ finishReason }) => finishReason)).toEqual(rows.map(() => "eos"));
    const [first, last] = [result.steps[0]!.loss, result.steps.at(-1)!.loss];
    expect(last).toBeLessThan(first / 2);
    // Another random base, to which the same adapter means nothing, must not have answered so by itself.
    expect(await base.generate("question a", { temperature: 0, max_new_tokens: 24 }).text()).not.toBe(answers[0]);
  });

  it("gives the same adapter bit for bit for the same seed, dropout included, and another for another seed", async () => {
    const settings = { lora_dropout: 0.2 };
    const [first, second, other] = [
      await train(settings),
      await train(settings),
      await train({ ...settings, seed: 43 }),
    ];
    expect(second.adapter.modules).toEqual(first.adapter.modules);
    expect(second.steps.map(({ loss }) => loss)).toEqual(first.steps.map(({ loss }) => loss));
    expect(other.adapter.modules).not.toEqual(first.adapter.modules);
  });

  it("has the same losses however the rows are packed: the mean is over the step's tokens", async () => {
    // Only the order of float32 sums differs.
    const losses = async (micro_batch_size: number, cutoff_len: number) =>
      (await train({ micro_batch_size, cutoff_len })).steps.map(({ loss }) => loss);
    const together = await losses(4, 64);
    const apart = await losses(1, 32);
    expect(together).toHaveLength(4);
    apart.forEach((loss, i) => {
      expect(loss).toBeCloseTo(together[i]!, 4);
    });
  });

  it("takes rows in the order of the file when told so, from the adapter it is given", async () => {
    const start = (await train()).adapter.modules;
    const more = { initial: start, order: "file" } as const;
    const whole = await train({ num_epochs: 1, learning_rate: 0 }, more);
    expect(whole.adapter.modules).toEqual(start);
    const halves = [rows.slice(0, 4), rows.slice(4)].map((half) =>
      train({ num_epochs: 1, learning_rate: 0 }, { ...more, rows: half }),
    );
    const losses = (await Promise.all(halves)).flatMap(({ steps }) => steps.map(({ loss }) => loss));
    // Equal up to the order of float32 sums.
    whole.steps.forEach(({ loss }, i) => {
      expect(loss).toBeCloseTo(losses[i]!, 5);
    });
  });

  it("reports every step, and says in one line what it adapted", async () => {
    const lines: string[] = [];
    const reports: Progress[] = [];
    const { steps, adapter } = await train(
      {},
      { log: (line) => lines.push(line), observers: [{ step: (report) => reports.push(report) }] },
    );
    expect(reports.map(({ step, steps }) => `${step}/${steps}`)).toEqual(["1/4", "2/4", "3/4", "4/4"]);
    expect(reports.map(({ loss }) => loss)).toEqual(steps.map(({ loss }) => loss));
    expect(reports.at(-1)!.secondsLeft).toBe(0);
    expect(lines.shift()).toBe("prompt template: none");
    expect(adapter.promptTemplate).toEqual({ prompt_template_name: "none" });
    expect(lines[0]).toBe("Adapted to 8 rows: val_set_size 0 instead of 2000, warmup_steps 0 instead of 100");
    expect(lines[1]).toBe("Report:");
    const memory = lines.findIndex((line) => /^Memory: weights .+, activations .+; .+ available$/.test(line));
    expect(memory).toBeGreaterThan(1);
    expect(lines[memory + 1]).toMatch(/^ {2}estimate +\d+ MB of memory at most$/);
    expect(lines[memory + 2]).toMatch(/^step 1\/4 {2}loss \d+\.\d{4} {2}\d+ tokens\/s {2}\d+:\d\d left$/);
  });

  it("keeps the adapter that was best on the validation rows", async () => {
    const lines: string[] = [];
    // The rows that the split will keep back want another answer than all others: the more is learnt, the worse.
    const kept = new Set(permutation(60, new RandomStream(defaults.seed, "validation split")).subarray(0, 6));
    const opposed = manyRows.map((row, i) => ({ ...row, output: kept.has(i) ? " grass" : " sleeps" }));
    const settings = { num_epochs: 4, batch_size: 9, train_on_inputs: false };
    const more = { rows: opposed, log: (line: string) => lines.push(line) };
    const { evaluations, adapter, plan } = await train(settings, more);
    expect(plan.settings.val_set_size).toBe(6);
    expect(evaluations.map(({ step }) => step)).toEqual([6, 12, 18, 24]);
    expect(lines.filter((line) => line.startsWith("validation loss"))).toHaveLength(4);
    const best = Math.min(...evaluations.map(({ loss }) => loss));
    expect(evaluations.at(-1)!.loss).toBeGreaterThan(best);
    const again = await train({ ...settings, learning_rate: 0 }, { rows: opposed, initial: adapter.modules });
    expect(again.evaluations[0]!.loss).toBeCloseTo(best, 5);
  });

  it("ends once the validation loss has not improved for long enough, and says so", async () => {
    const lines: string[] = [];
    const kept = new Set(permutation(60, new RandomStream(defaults.seed, "validation split")).subarray(0, 6));
    const opposed = manyRows.map((row, i) => ({ ...row, output: kept.has(i) ? " grass" : " sleeps" }));
    const settings = { num_epochs: 20, batch_size: 9, train_on_inputs: false, eval_steps: 2 };
    const more = { rows: opposed, log: (line: string) => lines.push(line) };
    const result = await train({ ...settings, early_stopping_patience: 2 }, more);
    const best = result.evaluations.reduce((lowest, next) => (next.loss < lowest.loss ? next : lowest));
    const last = best.step + 4;
    expect(result.stopped).toEqual({ step: last, steps: 120, evaluations: 2, best });
    expect([result.steps.length, result.evaluations.at(-1)!.step]).toEqual([last, last]);
    expect(lines).toContainEqual(expect.stringMatching(`^stopped early after step ${last} of 120: no better`));
    // The schedule stays that of the planned steps.
    const whole = await train(settings, { rows: opposed });
    expect(whole.stopped).toBeNull();
    expect(whole.steps.slice(0, last)).toEqual(result.steps);
    expect(whole.evaluations.map(({ step }) => step).slice(0, 3)).toEqual([2, 4, 6]);
  });

  it("refuses early_stopping_patience without validation rows, and says that eval_steps has nothing to do", async () => {
    await expect(train({ early_stopping_patience: 3 })).rejects.toMatchObject({
      code: "TRAINING_SETTINGS",
      message: "early_stopping_patience 3 needs validation rows, and there are none",
    });
    const lines: string[] = [];
    await train({ eval_steps: 5 }, { log: (line) => lines.push(line) });
    expect(lines).toContain("eval_steps 5 has nothing to evaluate: there are no validation rows and no sample_prompts");
  });

  it("chooses the best adapter by the rows of validation_data, where there is some", async () => {
    const lines: string[] = [];
    const more = { validationRows: manyRows, log: (line: string) => lines.push(line) };
    const all = await train({}, more);
    expect(all.plan).toMatchObject({ trainingRows: 8, settings: { val_set_size: 60 } });
    expect(all.evaluations.map(({ step }) => step)).toEqual([2, 4]);
    expect(lines).toContain("validation_data: all of 60 rows");
    const some = await train({ val_set_size: 8 }, more);
    expect(lines).toContain("validation_data: the first 8 of 60 rows");
    // The same eight rows again and again.
    expect(some.steps).toEqual(all.steps);
    await expect(train({ val_set_size: 61 }, more)).rejects.toMatchObject({
      code: "TRAINING_SETTINGS",
      message: "val_set_size 61 of the 60 rows of validation_data",
    });
  });

  it("reports rows with an empty output", async () => {
    const lines: string[] = [];
    await train({ num_epochs: 1 }, { rows: [...rows, { ...rows[0]!, output: "" }], log: (line) => lines.push(line) });
    expect(lines.join("\n")).toContain("1 of 9 rows have an empty answer: they teach to answer nothing");
  });

  it("stops between micro-batches when it is aborted", async () => {
    const controller = new AbortController();
    const seen: number[] = [];
    const aborted = train(
      { num_epochs: 50 },
      {
        signal: controller.signal,
        observers: [
          {
            step({ step }) {
              seen.push(step);
              if (step === 3) controller.abort(new Error("enough"));
            },
          },
        ],
      },
    );
    await expect(aborted).rejects.toThrow("enough");
    expect(seen).toEqual([1, 2, 3]);
    expect((await train()).steps).toHaveLength(4);
  });

  it("stops when the loss is no number any more", async () => {
    await expect(
      train({ learning_rate: 1e6, weight_decay: 1000, max_grad_norm: 0, num_epochs: 20 }),
    ).rejects.toMatchObject({
      code: "TRAINING_DIVERGED",
      message: expect.stringMatching(/^step \d+: the (loss|gradient) is /),
    });
  });

  it("refuses settings outside their limits before it starts", async () => {
    await expect(train({ lora_r: 0 })).rejects.toMatchObject({ code: "TRAINING_SETTINGS" });
  });
});

describe("the archive of a training", () => {
  it("holds the tensors bit for bit, under the base model's name", async () => {
    const { adapter } = await train({ num_epochs: 1 });
    const file = await writeAdapterArchive(join(folder, "result.tar.gz"), adapter, base.model.config);
    const { modules, config } = await openAdapter(file, base.model.config);
    expect(modules).toEqual(adapter.modules);
    expect(config).toMatchObject({ baseModel: "tiny", rank: 8, alpha: 16, targetModules: ["q_proj", "v_proj"] });
  });
});
