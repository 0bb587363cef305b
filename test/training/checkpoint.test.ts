import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "tar";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Llama, openAdapter } from "../../src/llama/index.ts";
import type { CheckpointInputs } from "../../src/training/checkpoint/index.ts";
import { oneRank } from "../../src/training/distributed/ranks.ts";
import {
  type InstructionRow,
  openCheckpoints,
  type TrainingResult,
  type TrainingSettings,
  trainLora,
} from "../../src/training/index.ts";
import { writeTinyCheckpoint } from "../llama/generation/tiny-checkpoint.ts";
import { chosen } from "./default-settings.ts";

let folder: string;
let root: string;
let base: Llama;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "checkpoint-test-"));
  await writeTinyCheckpoint(join(folder, "tiny"));
  base = await Llama.load({ weights: join(folder, "tiny") });
});
afterAll(async () => {
  await base.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  root = mkdtempSync(join(folder, "runs-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const words = ["eats grass", "sleeps", "the llama", "grass", "a llama", "and", "羊驼", "eats", "runs", "is a llama"];
const rows: InstructionRow[] = words.map((output, i) => ({
  instruction: `question ${i}`,
  input: "",
  output,
  source: { file: "data.json", number: i + 1, unit: "record" },
}));

/** Ten steps in five epochs, shuffled, with dropout; two rows are kept back. */
const settings = {
  num_epochs: 5,
  learning_rate: 1e-2,
  batch_size: 4,
  micro_batch_size: 1,
  cutoff_len: 32,
  val_set_size: 2,
  lora_dropout: 0.2,
  warmup_steps: 3,
  weight_decay: 0.01,
  prompt_template_name: "none",
} as const;

interface Run {
  inputs?: Partial<CheckpointInputs>;
  changed?: Partial<TrainingSettings>;
  /** Settings that are given; all of `settings` by default. */
  given?: Partial<TrainingSettings>;
  rows?: readonly InstructionRow[];
  /** Aborts after this step. */
  stopAfter?: number;
  log?: (line: string) => void;
  folder?: string | null;
  onSaved?: (name: string) => void;
}

async function train(run: Run = {}): Promise<TrainingResult> {
  const abort = new AbortController();
  const { log = () => {} } = run;
  const asked = chosen(run.given ?? { ...settings, ...run.changed });
  const none: CheckpointInputs = {
    save_steps: null,
    save_total_limit: 100,
    resume_from_checkpoint: null,
    checkpoint: null,
  };
  const opened = await openCheckpoints({
    base,
    rows: run.rows ?? rows,
    ranks: oneRank,
    ...asked,
    inputs: { ...none, ...run.inputs },
    folder: run.folder === undefined ? root : run.folder,
    tempDir: mkdtempSync(join(folder, "temp-")),
    signal: abort.signal,
    log,
    onSaved: run.onSaved,
  });
  const stop = {
    step: ({ step }: { step: number }) => void (step === run.stopAfter && abort.abort(new Error("stopped"))),
  };
  return trainLora({ base, rows: run.rows ?? rows, ...opened, log, signal: abort.signal, observers: [stop] });
}

/** What must be the same bit for bit. */
const essence = ({ adapter, steps, evaluations }: TrainingResult) => ({ modules: adapter.modules, steps, evaluations });
const runs = () => readdirSync(root).filter((name) => !name.startsWith("."));
const stepsOf = (run = runs()[0]!) => readdirSync(join(root, run)).sort();

describe("a run with checkpoints", () => {
  it("goes on from each of them with the bits of the run that was not interrupted", async () => {
    const alone = await train({ folder: null });
    const whole = await train({ inputs: { save_steps: 1 } });
    expect(essence(whole)).toEqual(essence(alone));
    expect(whole.steps).toHaveLength(10);
    expect(stepsOf()).toHaveLength(10);
    for (const step of stepsOf()) {
      const resumed = await train({ inputs: { resume_from_checkpoint: `${runs()[0]}/${step}` } });
      expect(essence(resumed)).toEqual(essence(alone));
    }
    expect(runs()).toHaveLength(1);
  });

  it("finishes the step when it is stopped, and takes the settings that are not given from the checkpoint", async () => {
    const alone = await train({ folder: null });
    const lines: string[] = [];
    for (const stopAfter of [3, 4]) {
      await expect(
        train({
          stopAfter,
          log: (line) => lines.push(line),
          inputs: { save_steps: 100, resume_from_checkpoint: stopAfter === 3 ? null : "last" },
        }),
      ).rejects.toThrow("stopped");
    }
    expect(stepsOf()).toEqual(["step-000003", "step-000004"]);
    expect(lines.filter((line) => line.startsWith("Checkpoint "))).toHaveLength(2);
    const resumed = await train({ given: {}, inputs: { resume_from_checkpoint: "last" } });
    expect(essence(resumed)).toEqual(essence(alone));
  });

  it("keeps the newest ones alone, each a usable adapter with the best one beside", async () => {
    const saved: string[] = [];
    const result = await train({ inputs: { save_steps: 2, save_total_limit: 2 }, onSaved: (name) => saved.push(name) });
    expect(saved).toHaveLength(5);
    expect(stepsOf()).toEqual(["step-000008", "step-000010"]);
    const opened = await openAdapter(join(root, runs()[0]!, "step-000010"), base.model.config);
    expect(opened.modules).toHaveLength(result.adapter.modules.length);
    const files = readdirSync(join(root, runs()[0]!, "step-000010"));
    expect(files).toEqual(expect.arrayContaining(["adapter_config.json", "adapter_model.safetensors", "state.json"]));
  });

  it("goes on from an archive of one, and keeps its own in a new run", async () => {
    const alone = await train({ folder: null });
    await expect(train({ stopAfter: 5 })).rejects.toThrow("stopped");
    const file = join(folder, "step.tar.gz");
    await create({ cwd: join(root, runs()[0]!), file, gzip: true }, ["step-000005"]);
    expect(essence(await train({ folder: null, inputs: { checkpoint: { path: file } } }))).toEqual(essence(alone));
    const text = `data:application/gzip;base64,${readFileSync(file, "base64")}`;
    expect(essence(await train({ inputs: { resume_from_checkpoint: text } }))).toEqual(essence(alone));
    expect(runs()).toHaveLength(2);
  });
});

describe("resuming", () => {
  beforeEach(async () => {
    await expect(train({ stopAfter: 3, inputs: { save_steps: 2 } })).rejects.toThrow("stopped");
  });
  const last = { resume_from_checkpoint: "last" };
  const code = (value: string) => expect.objectContaining({ code: value });

  it("names what is not that of the run", async () => {
    const other = { changed: { learning_rate: 0.5 }, inputs: last };
    await expect(train(other)).rejects.toThrow("learning_rate is 0.5 here, 0.01 there");
    await expect(train({ rows: rows.slice(1), inputs: last })).rejects.toThrow("the data set has other rows");
    await expect(train({ rows: rows.slice(1), inputs: last })).rejects.toEqual(code("TRAINING_RESUME"));
    const named = `${runs()[0]}/step-000003`;
    await expect(train({ ...other, inputs: { resume_from_checkpoint: named } })).rejects.toEqual(
      code("TRAINING_RESUME"),
    );
    const fresh = await train({ ...other, inputs: { resume_from_checkpoint: "auto" } });
    expect(fresh.steps).toHaveLength(10);
    expect(runs()).toHaveLength(2);
  });

  it("passes a torn checkpoint over for the one before", async () => {
    truncateSync(join(root, runs()[0]!, "step-000003", "optimizer.safetensors"), 1000);
    const lines: string[] = [];
    const resumed = await train({ inputs: last, log: (line) => lines.push(line) });
    expect(resumed.steps).toHaveLength(10);
    expect(lines.join("\n")).toMatch(/Passed over: .*step-000003.*digest/);
    expect(lines.join("\n")).toContain("/step-000002: 2 of 10 steps are done");
    const named = { resume_from_checkpoint: `${runs()[0]}/step-000003` };
    await expect(train({ inputs: named })).rejects.toEqual(code("TRAINING_CHECKPOINT"));
  });

  it("takes nothing from outside of its folder, and no other names", async () => {
    const run = runs()[0]!;
    symlinkSync(join(root, run, "step-000002"), join(root, run, "step-000009"));
    symlinkSync(folder, join(root, run, "step-000008"));
    for (const name of [
      "../x",
      "/etc",
      "step-1",
      `${run}/../${run}/step-000002`,
      "",
      `${run}/step-000008`,
      `${run}/step-000007`,
    ]) {
      await expect(train({ inputs: { resume_from_checkpoint: name } })).rejects.toEqual(code("TRAINING_CHECKPOINT"));
    }
  });

  it("refuses what it cannot keep", async () => {
    for (const inputs of [{ save_steps: 2 }, last]) {
      await expect(train({ folder: null, inputs })).rejects.toEqual(code("TRAINING_SETTINGS"));
    }
    await mkdir(join(root, "file"), { recursive: true });
    writeFileSync(join(root, "file", "f"), "");
    await expect(train({ folder: join(root, "file", "f") })).rejects.toEqual(code("TRAINING_OUTPUT"));
  });
});

it("goes on where a later checkpoint cannot be written, and says so", async () => {
  const lines: string[] = [];
  const result = await train({
    inputs: { save_steps: 2 },
    log: (line) => lines.push(line),
    onSaved: () => {
      const run = join(root, runs()[0]!);
      if (!existsSync(join(run, "step-000004"))) {
        // A file where the next one would go.
        writeFileSync(join(run, "step-000004"), "");
      }
    },
  });
  expect(result.steps).toHaveLength(10);
  expect(lines.filter((line) => line.startsWith("WARNING: no checkpoint after step 4"))).toHaveLength(1);
  expect(stepsOf()).toContain("step-000010");
});
