import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addressOf, buildCommand, ProjectFolder, resultOf } from "../cog/cli/command.ts";
import { writeTinyCheckpoint } from "../llama/generation/tiny-checkpoint.ts";
import { root } from "./embedded-base.ts";

const embedded = "model: tiny (embedded), 1.9 M parameters, bf16, context 512, SentencePiece of 1,600 pieces";
const random = "model: llama-7b, 32.9 K parameters, f32, context 512, SentencePiece of 272 pieces";
const data = JSON.stringify(Array(8).fill({ instruction: "the llama", output: "eats grass" }));
const training = ["dataset=@data.json", "num_epochs=1", "val_set_size=0", "micro_batch_size=8"];
const environment = { LLAMA_WEIGHTS: "" };

/** The project in a folder of its own, so that its weights/ can be filled. */
let project: ProjectFolder;
beforeAll(() => {
  buildCommand();
  project = new ProjectFolder(undefined, { "data.json": data });
  for (const name of ["package.json", "tsconfig.json", "cog.yaml", "predict.ts", "train.ts", "src", "weights/tiny"]) {
    cpSync(join(root, name), join(project.path, name), { recursive: true });
  }
  for (const name of ["node_modules", "build", "dist"]) symlinkSync(join(root, name), join(project.path, name));
});
afterAll(() => project.remove());

const modelLines = (text: string) => text.match(/model: [^"\n]*pieces/g);

async function starts(line: string): Promise<void> {
  const predict = await project.run(["predict", "-i", "prompt=a", "-i", "max_new_tokens=1"], { env: environment });
  expect(modelLines(predict.stderr)).toEqual([line]);
  expect(modelLines(predict.stdout)).toBeNull();
  const words = training.flatMap((input) => ["-i", input]);
  const train = await project.run(["train", ...words], { env: environment });
  expect(modelLines(train.stderr)).toEqual([line]);
  const doctor = await project.run(["doctor"], { env: environment });
  expect(modelLines(doctor.stdout + doctor.stderr)).toEqual([line]);
  const server = project.start(["serve", "--port", "0"], environment);
  const ended = resultOf(server);
  const url = await addressOf(server);
  const status = async () => (await (await fetch(`${url}/health-check`)).text()).includes("STARTING");
  while (await status()) await setTimeout(50);
  server.kill("SIGTERM");
  expect(modelLines((await ended).stderr)).toEqual([line]);
}

describe("every start says in one line which model it runs", () => {
  it("the embedded one where weights/ holds no other", () => starts(embedded), 120_000);

  it("the one that was put into weights/", async () => {
    const folder = mkdtempSync(join(tmpdir(), "model-"));
    await writeTinyCheckpoint(folder);
    cpSync(folder, join(project.path, "weights", "llama-7b"), { recursive: true });
    rmSync(folder, { recursive: true });
    await starts(random);
  }, 120_000);

  it("and none where it cannot tell which of two is meant", async () => {
    cpSync(join(project.path, "weights", "llama-7b"), join(project.path, "weights", "second"), { recursive: true });
    const { exit, stderr } = await project.run(["predict", "-i", "prompt=a"], { env: environment });
    expect(exit).not.toBe(0);
    expect(stderr).toContain("[CHECKPOINT_AMBIGUOUS]");
    expect(stderr).toContain("llama-7b, second");
    expect(modelLines(stderr)).toBeNull();
  }, 60_000);
});
