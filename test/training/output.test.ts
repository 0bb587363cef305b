import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Llama, openAdapter } from "../../src/llama/index.ts";
import { layoutOf } from "../../src/training/adapter-layout.ts";
import {
  AdapterOutput,
  type InstructionRow,
  readDataset,
  type TrainingResult,
  type TrainingSettings,
  trainLora,
} from "../../src/training/index.ts";
import { initialAdapter } from "../../src/training/initial-adapter.ts";
import { root, weights } from "../weights/embedded-base.ts";
import { chosen, defaults } from "./default-settings.ts";

let base: Llama;
let rows: InstructionRow[];
let folder: string;
/** A training that went well. */
let result: TrainingResult;
beforeAll(async () => {
  base = await Llama.load({ weights });
  rows = (await readDataset(join(root, "examples", "alpacas.json"))).rows.slice(0, 8) as InstructionRow[];
  result = await train({});
});
afterAll(() => base.close());

// What is kept goes to the temporary folder, which is this test's own.
const { TMPDIR } = process.env;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "output-test-"));
  mkdirSync(join(folder, "temporary"));
  mkdirSync(join(folder, "work"));
  process.env.TMPDIR = join(folder, "temporary");
});
afterEach(() => {
  if (TMPDIR === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = TMPDIR;
  rmSync(folder, { recursive: true });
});

const open = async ({
  settings = defaults,
  ...options
}: {
  destination?: string;
  settings?: TrainingSettings;
} = {}) => {
  const { model } = base;
  const modules = await initialAdapter(model.config, layoutOf(model.config, settings), settings.seed);
  return AdapterOutput.open(join(folder, "work"), { model, modules, ...options });
};
const train = (choice: Partial<TrainingSettings>) =>
  trainLora({ base, rows, ...chosen({ lora_dropout: 0, num_epochs: 4, ...choice }) });
const keptFolder = (message: string) => /the adapter is kept in (.+)$/.exec(message)![1]!;

describe("the output of a training", () => {
  it("is the archive of an adapter that did well", async () => {
    const output = await open();
    const file = await output.write(result);
    expect((await openAdapter(file, base.model.config)).modules).toEqual(result.adapter.modules);
    expect(readdirSync(join(folder, "work"))).toEqual(["adapter.tar.gz"]);
    expect(readdirSync(join(folder, "temporary"))).toEqual([]);
  });

  it.each([1, 10, 100])("is refused where the loss ended higher than it began (learning_rate %i)", async (rate) => {
    const output = await open();
    const diverged = await train({ learning_rate: rate });
    const failure = await output.write(diverged).catch((error) => error);
    expect(failure).toMatchObject({
      code: "TRAINING_DIVERGED",
      message: expect.stringMatching(
        /^the loss ended higher than it began: \d\.\d+ before the training, \d+\.\d+ after it; /,
      ),
    });
    const { modules } = await openAdapter(keptFolder(failure.message), base.model.config);
    expect(modules).toEqual(diverged.adapter.modules);
  });

  it("is refused after a single step too, whose own loss is from before it", async () => {
    const output = await open();
    const diverged = await train({ learning_rate: 1, num_epochs: 1, batch_size: 8 });
    expect(diverged.steps).toHaveLength(1);
    await expect(output.write(diverged)).rejects.toMatchObject({ code: "TRAINING_DIVERGED" });
  });

  it.each([0, 1e-7, 1e-5])("is no failure where little was learnt (learning_rate %d)", async (learning_rate) => {
    for (const num_epochs of [1, 5]) {
      const output = await open();
      expect(existsSync(await output.write(await train({ learning_rate, num_epochs })))).toBe(true);
    }
  });

  it("is refused where the adapter's scores are not finite, or its numbers", async () => {
    const changed = (value: number) => ({
      ...result,
      adapter: {
        ...result.adapter,
        modules: result.adapter.modules.map((one) => ({ ...one, b: one.b.map(() => value) })),
      },
    });
    const scores = await (await open()).write(changed(3e38)).catch((error) => error);
    expect(scores).toMatchObject({
      code: "TRAINING_DIVERGED",
      message: expect.stringContaining(
        "the trained adapter gives scores that are not finite numbers; the adapter is kept",
      ),
    });
    const numbers = await (await open()).write(changed(Number.NaN)).catch((error) => error);
    expect(numbers).toMatchObject({
      code: "TRAINING_DIVERGED",
      message: "the trained adapter holds numbers that are not finite; nothing was written",
    });
  });
});

describe("a finished adapter", () => {
  it("is kept elsewhere, and named, when its folder has vanished", async () => {
    const output = await open();
    rmSync(join(folder, "work"), { recursive: true });
    const failure = await output.write(result).catch((error) => error);
    expect(failure).toMatchObject({
      code: "TRAINING_OUTPUT",
      message: expect.stringMatching(/^the training has ended, but its archive cannot be written: ENOENT/),
    });
    expect(keptFolder(failure.message).startsWith(join(folder, "temporary"))).toBe(true);
    const { modules } = await openAdapter(keptFolder(failure.message), base.model.config);
    expect(modules).toEqual(result.adapter.modules);
  });

  it("is kept in the home directory when the temporary folder takes nothing", async () => {
    const output = await open();
    rmSync(join(folder, "temporary"), { recursive: true });
    const { HOME } = process.env;
    process.env.HOME = folder;
    try {
      const failure = await output.write(result).catch((error) => error);
      expect(failure).toMatchObject({ code: "TRAINING_OUTPUT" });
      expect(keptFolder(failure.message).startsWith(join(folder, "kept-adapter-"))).toBe(true);
      const { modules } = await openAdapter(keptFolder(failure.message), base.model.config);
      expect(modules).toEqual(result.adapter.modules);
    } finally {
      process.env.HOME = HOME;
    }
  });
});

describe("before the first step", () => {
  const everything = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] as const;

  // A file system without a single free byte, on every Linux.
  it.skipIf(!existsSync("/proc/self"))("a full disk is found, with the room that is needed", async () => {
    await expect(open({ destination: "/proc" })).rejects.toMatchObject({
      code: "TRAINING_OUTPUT",
      message: "the training's adapter needs 1.1 MB in /proc, which has 0.0 MB free",
    });
    const settings = { ...defaults, lora_r: 64, lora_target_modules: everything };
    await expect(open({ destination: "/proc", settings })).rejects.toThrow("needs 4.6 MB in /proc");
  });

  it("a folder that is not there is found", async () => {
    const destination = join(folder, "gone");
    await expect(open({ destination })).rejects.toMatchObject({
      code: "TRAINING_OUTPUT",
      message: expect.stringContaining(`the training cannot use ${destination}: ENOENT`),
    });
  });

  it("a folder that cannot be written to is found", async () => {
    rmSync(join(folder, "work"), { recursive: true });
    mkdirSync(join(folder, "work", "adapter.tar.gz"), { recursive: true });
    await expect(open()).rejects.toMatchObject({
      code: "TRAINING_OUTPUT",
      message: expect.stringContaining("the training's output cannot be opened in"),
    });
  });
});
