import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { buildCommand, ProjectFolder } from "./command.ts";

beforeAll(buildCommand);

const writer = `
  const { writeOutput } = await import(process.env.WRITE);
  await writeOutput("result.txt", { path: "never-ends" });`;

it("a run removes what one that was killed while it wrote has left beside the output", async () => {
  const project = new ProjectFolder("echo");
  // The command's own writing of a result, of which no byte comes.
  spawnSync("mkfifo", [join(project.path, "never-ends")]);
  const killed = spawn(process.execPath, ["--input-type=module", "-e", writer], {
    cwd: project.path,
    env: { ...process.env, WRITE: join(project.root, "dist", "cog", "cli", "output", "write.js") },
    stdio: "inherit",
  });
  await expect.poll(() => project.written()).toEqual([expect.stringMatching(/^\.llama-lora-output\./)]);
  killed.kill("SIGKILL");
  await once(killed, "close");
  expect(project.written()).toHaveLength(1);
  expect(await project.run(["predict", "-i", "s=you", "-o", "result.txt"])).toMatchObject({ exit: 0 });
  expect(project.written()).toEqual(["result.txt"]);
  project.remove();
});
