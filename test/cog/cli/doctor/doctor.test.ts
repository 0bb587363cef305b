import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { memory, nodeVersion, port, temporaryFiles } from "../../../../src/cog/cli/doctor/machine.ts";
import { buildCommand, ProjectFolder } from "../command.ts";

beforeAll(buildCommand);

const opened: ProjectFolder[] = [];
afterEach(() => {
  for (const project of opened.splice(0)) project.remove();
});

async function doctor(
  fixture: string | undefined,
  files: Record<string, string> = {},
  env: Record<string, string> = {},
) {
  const project = new ProjectFolder(fixture, files);
  opened.push(project);
  // Any free port: 5000 may be taken where the tests run.
  return project.run(["doctor"], { env: { PORT: "0", COG_WEIGHTS: "", ...env } });
}

describe("cog doctor", () => {
  it("tells what it checked, and ends with 0", async () => {
    const { exit, stdout } = await doctor("train");
    expect(exit).toBe(0);
    expect(stdout).toMatch(/^ok {5}Node \d/m);
    expect(stdout).toMatch(/^ok {5}configuration: .*cog\.yaml$/m);
    expect(stdout).toMatch(/^ok {5}train: .*train\.ts declares 2 inputs$/m);
    expect(stdout).toMatch(/^ok {5}setup succeeded in [\d.]+ s$/m);
  });

  it("tells of a model that cannot be set up", async () => {
    const { exit, stdout, stderr } = await doctor("sbad");
    expect(exit).toBe(1);
    expect(stdout).toMatch(/^error {2}setup: Error: no weights \(.*predict\.ts:\d+:\d+\)\n {7}\S/m);
    expect(stderr).toMatch(/1 problem found\n$/);
  });

  it("tells of a declaration and of weights that are not there, and does not run setup then", async () => {
    const { exit, stdout, stderr } = await doctor(
      "echo",
      { "predict.ts": "export default 3;" },
      { COG_WEIGHTS: "no.tar.gz" },
    );
    expect(exit).toBe(1);
    expect(stdout).toMatch(/^error {2}predict: \[PREDICTOR_INVALID\] .*predict\.ts/m);
    expect(stdout).toMatch(/^error {2}COG_WEIGHTS: no\.tar\.gz does not exist/m);
    expect(stdout).not.toContain("setup");
    expect(stderr).toMatch(/2 problems found\n$/);
  });

  it("tells of a folder without a project", async () => {
    const { exit, stdout } = await doctor(undefined);
    expect(exit).toBe(1);
    expect(stdout).toMatch(/^error {2}configuration: \[PROJECT_CONFIG\] cog\.yaml not found/m);
  });
});

describe("what is checked of the machine", () => {
  it("is Node's version", () => {
    expect(nodeVersion("20.11.0").level).toBe("ok");
    expect(nodeVersion("24.1.0").level).toBe("ok");
    expect(nodeVersion("20.10.9")).toMatchObject({ level: "error", text: expect.stringContaining(">=20.11") });
  });

  it("is memory", () => {
    expect(memory(4 * 1024 ** 3, 8 * 1024 ** 3)).toEqual({ level: "ok", text: "4.0 of 8.0 GB memory are free" });
    expect(memory(2 ** 20, 8 * 1024 ** 3).level).toBe("note");
  });

  it("is the folder for temporary files", () => {
    expect(temporaryFiles().level).not.toBe("error");
    expect(temporaryFiles(join(import.meta.dirname, "missing")).level).toBe("error");
    expect(temporaryFiles(import.meta.filename).level).toBe("error");
  });

  it("is the port", async () => {
    expect((await port("0")).level).toBe("ok");
    expect((await port("x")).level).toBe("error");
  });
});
