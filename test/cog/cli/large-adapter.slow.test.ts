import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildCommand, lastLine, ProjectFolder } from "./command.ts";

beforeAll(buildCommand);

const opened: ProjectFolder[] = [];
afterAll(() => {
  for (const project of opened) project.remove();
});

function opens(project: ProjectFolder): ProjectFolder {
  opened.push(project);
  return project;
}

describe("an adapter of 420 MB, more than a text of Node can hold", () => {
  const train = `import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { defineTrainer, Output, Path } from "llama-lora-cog/cog";
export default defineTrainer({
  inputs: {},
  output: Output.object({ weights: Output.path() }),
  async train(_, { tempDir }) {
    const file = join(tempDir, "adapter.tar.gz");
    await writeFile(file, "begin");
    await truncate(file, 420e6);
    return { weights: new Path(file) };
  },
});`;
  const predict = `import { stat } from "node:fs/promises";
import { definePredictor, Input, Output } from "llama-lora-cog/cog";
export default definePredictor({
  inputs: { adapter: Input.path() },
  output: Output.integer(),
  predict: async ({ adapter }) => (await stat(adapter.path)).size,
});`;

  it("is written by a training, and read by the command that the training prints", async () => {
    const project = opens(new ProjectFolder("tuned", { "train.ts": train, "predict.ts": predict }));
    const temporary = opens(new ProjectFolder(undefined));
    const training = await project.run(["train"], { env: { TMPDIR: temporary.path } });
    expect(training.exit, training.stderr).toBe(0);
    expect(temporary.written()).toEqual([]);
    expect(statSync(join(project.path, "adapter.tar.gz")).size).toBe(420e6);
    const printed = lastLine(training.stderr);
    const text = execFileSync("bash", ["-c", printed], { cwd: project.path, stdio: ["ignore", "pipe", "ignore"] });
    expect(text.toString()).toBe("420000000\n");
  });
});
