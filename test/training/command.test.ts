import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Llama, openAdapter } from "../../src/llama/index.ts";
import { buildCommand, lastLine, ProjectFolder, type Result, resultOf } from "../cog/cli/command.ts";
import { tarball } from "../llama/tarball.ts";
import { answer, root, weights } from "../weights/embedded-base.ts";

let folder: string;
beforeAll(buildCommand);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "train-command-"));
  return () => rmSync(folder, { recursive: true });
});

const project = new ProjectFolder(undefined);
afterAll(() => project.remove());

/** `cog train` of this repository's train.ts. */
function cogTrain(dataset: string, inputs: readonly string[] = [], env: Record<string, string> = {}): Promise<Result> {
  const words = [`dataset=@${dataset}`, ...inputs].flatMap((input) => ["-i", input]);
  const config = join(root, "cog.yaml");
  return project.run(["train", "-f", config, ...words, "-o", join(folder, "adapter.tar.gz")], { env });
}

function dataset(rows: readonly object[]): string {
  const file = join(folder, "data.json");
  writeFileSync(file, JSON.stringify(rows));
  return file;
}

const news = [
  { instruction: "Who repairs the bridge of Alder?", input: "", output: "The miller repairs it every spring." },
  { instruction: "What colour is the old boat?", input: "", output: "The old boat is green." },
  { instruction: "Where does the baker keep the salt?", input: "", output: "He keeps it in a blue jar." },
  { instruction: "How many goats has the farmer?", input: "", output: "The farmer has nine goats." },
];

describe("cog train with nothing but a data set", () => {
  it("teaches four new rows", async () => {
    const { exit, stderr } = await cogTrain(dataset(news));
    expect([exit, stderr]).toEqual([0, expect.stringContaining("Written output to: ")]);
    expect(stderr).toContain("Adapted to 4 rows: val_set_size 0 instead of 2000, batch_size 4 instead of 128");
    const base = await Llama.load({ weights });
    try {
      const adapter = join(folder, "adapter.tar.gz");
      const before = await Promise.all(news.map((row) => answer(base, row)));
      const after = await Promise.all(news.map((row) => answer(base, row, adapter)));
      expect(before.filter((text, i) => text === news[i]!.output)).toEqual([]);
      // Rounding differs between processors; one of the four may miss a word.
      expect(after.filter((text, i) => text === news[i]!.output).length).toBeGreaterThanOrEqual(3);
    } finally {
      await base.close();
    }
  });
});

describe("cog train with a setting that was given", () => {
  const eight = [...news, ...news.map((row) => ({ ...row, instruction: `${row.instruction} Tell me.` }))];

  it("honours it: val_set_size 2 of 8 rows", async () => {
    const { exit, stderr } = await cogTrain(dataset(eight), ["val_set_size=2", "num_epochs=2", "batch_size=3"]);
    expect(exit).toBe(0);
    expect(stderr.match(/^validation loss /gm)).toHaveLength(2);
    expect(stderr).toContain("step 4/4");
    expect(stderr).not.toContain("val_set_size");
  });

  it("refuses it where it cannot, also where it is the default's value: val_set_size 2000 of 8 rows", async () => {
    const { exit, stderr } = await cogTrain(dataset(eight), ["val_set_size=2000"]);
    expect(exit).not.toBe(0);
    expect(lastLine(stderr)).toBe("error [TRAINING_SETTINGS]: val_set_size 2000 of 8 rows leaves none to train on");
    expect(readdirSync(folder)).toEqual(["data.json"]);
  });
});

describe("cog train whose output has no place", () => {
  it.skipIf(!existsSync("/proc/self"))("ends before its first step where the disk is full", async () => {
    const words = ["-f", join(root, "cog.yaml"), "-i", `dataset=@${dataset(news)}`, "-e", "COG_OUTPUT_DIR=/proc"];
    const { exit, stderr } = await project.run(["train", ...words]);
    expect(exit).toBe(1);
    expect(stderr).toMatch(
      /^error \[TRAINING_OUTPUT\]: the training's adapter needs .* in \/proc, which has 0.0 MB free/m,
    );
    expect(stderr).not.toContain("step ");
  });

  it("keeps a finished adapter where its folder has vanished", async () => {
    const gone = mkdtempSync(join(folder, "gone-"));
    const temporary = mkdtempSync(join(folder, "temporary-"));
    const words = ["-f", join(root, "cog.yaml"), "-i", `dataset=@${dataset(news)}`, "-o", join(gone, "a.tar.gz")];
    const training = project.start(["train", ...words], { TMPDIR: temporary });
    training.stderr!.on(
      "data",
      (text: string) => text.includes("step ") && rmSync(gone, { recursive: true, force: true }),
    );
    const { exit, stderr } = await resultOf(training);
    expect(exit).toBe(1);
    expect(stderr).toContain("error [TRAINING_OUTPUT]: the training has ended, but");
    const kept = /It is kept in (\S+)/.exec(stderr)![1]!;
    const base = await Llama.load({ weights });
    try {
      expect((await openAdapter(kept, base.model.config)).modules).toHaveLength(8);
    } finally {
      await base.close();
    }
  });
});

describe("cog train", () => {
  const noBase = { LLAMA_WEIGHTS: "/nowhere/llama-7b" };

  it("finds what is wrong with the data before it loads the model", async () => {
    const { stderr } = await cogTrain(dataset([{ instruction: "a" }]), [], noBase);
    expect(lastLine(stderr)).toContain('error [DATASET_ROW_FIELD]: data.json, record 1: field "output" is missing');
    const loaded = await cogTrain(dataset(news), [], noBase);
    expect(lastLine(loaded.stderr)).toContain("error [CHECKPOINT_NOT_FOUND]");
  });
});

describe("a killed cog train", () => {
  it("leaves nothing of the user's data in the temporary folder once another command has run", async () => {
    const temporary = mkdtempSync(join(folder, "temporary-"));
    const archive = join(folder, "data.tar");
    writeFileSync(archive, tarball([{ path: "data.json", body: JSON.stringify(news) }]));
    const words = ["train", "-f", join(root, "cog.yaml"), "-i", `dataset=@${archive}`, "-i", "num_epochs=100000"];
    const killed = project.start([...words, "-o", join(folder, "a.tar.gz")], { TMPDIR: temporary });
    const result = resultOf(killed);
    await new Promise<void>((resolve, reject) => {
      killed.stderr!.on("data", (text: string) => text.includes("step ") && resolve());
      killed.on("close", () => reject(new Error("it ended by itself")));
    });
    killed.kill("SIGKILL");
    await result;
    expect(readdirSync(temporary)).not.toEqual([]);
    const { exit } = await cogTrain(dataset(news), ["num_epochs=1"], { TMPDIR: temporary });
    expect([exit, readdirSync(temporary)]).toEqual([0, []]);
  });
});
