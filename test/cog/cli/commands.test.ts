import { spawnSync } from "node:child_process";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { buildCommand, lastLine, ProjectFolder, shim } from "./command.ts";

beforeAll(buildCommand);

const opened: ProjectFolder[] = [];
afterEach(() => {
  for (const project of opened.splice(0)) project.remove();
});

function open(fixture: string | undefined, files?: Record<string, string>): ProjectFolder {
  const project = new ProjectFolder(fixture, files);
  opened.push(project);
  return project;
}

describe("cog init", () => {
  const project = new ProjectFolder(undefined, { "README.md": "mine" });
  afterAll(() => project.remove());

  it("writes a project and leaves what is there", async () => {
    const result = await project.run(["init"]);
    expect(result.exit).toBe(0);
    expect(result.stderr).toContain("Creating predict.ts\n");
    expect(result.stderr).toContain("Skipped existing README.md\n");
    expect(project.read("README.md").toString()).toBe("mine");
    expect(project.written()).toEqual([
      ".dockerignore",
      "Dockerfile",
      "cog.yaml",
      "package.json",
      "predict.ts",
      "train.ts",
      "tsconfig.json",
    ]);
  });

  it("whose model trains and predicts", async () => {
    const training = await project.run(["train", "-i", "dataset=@README.md"]);
    expect(lastLine(training.stderr)).toBe('cog predict -i counts=@counts.json -i name="..."');
    const { stdout } = await project.run(["predict", "--stream", "-i", "name=Ada", "-i", "counts=@counts.json"]);
    expect(stdout).toBe("Hello, Ada! The training counted 1 words.\n");
  });
});

describe("cog schema", () => {
  it("prints the document without running setup", async () => {
    const result = await open("tuned").run(["schema"]);
    const document = JSON.parse(result.stdout);
    expect(Object.keys(document.components.schemas.TrainingInput.properties)).toEqual(["dataset", "epochs"]);
    expect(Object.keys(document.paths)).toContain("/predictions");
    expect(result.stderr).toBe("");
  });

  it("says what is wrong with a declaration", async () => {
    const result = await open("echo", { "predict.ts": "export default 3;" }).run(["schema"]);
    expect(result.exit).toBe(1);
    expect(result.stderr).toMatch(/^error \[PREDICTOR_INVALID\]: .*predict\.ts/);
  });
});

describe("the command line", () => {
  it.each([[[]], [["--debug"]]])("prints the help on standard output and ends with 0 for %j alone", async (words) => {
    const result = await open(undefined).run(words);
    expect([result.exit, result.stderr]).toEqual([0, ""]);
    expect(result.stdout).toMatch(/^Usage: cog .*\n[\s\S]*predict\|run /);
  });

  it("lists the model's inputs in the help of a run", async () => {
    const result = await open("tuned").run(["train", "--help"]);
    expect(result.exit).toBe(0);
    expect(result.stdout).toContain(
      "Inputs of this model:\n  dataset  (file, required)\n  epochs   (integer, at least 1, default 1)\n",
    );
  });

  it.each([
    [["predict", "--wrong"], "error: unknown option '--wrong'"],
    [["predict", "a", "b"], "error: too many arguments for 'predict'. Expected 1 argument but got 2."],
    [["wrong"], "error: unknown command 'wrong'"],
    [["predict", "--setup-timeout", "x"], "a whole number of seconds is expected"],
  ])("shows the usage before the message for %j", async (words, message) => {
    const result = await open(undefined).run(words);
    expect([result.exit, result.stdout]).toEqual([1, ""]);
    expect(result.stderr).toMatch(/^Usage: cog/);
    expect(lastLine(result.stderr)).toContain(message);
  });

  it("says where it looked for a project", async () => {
    const result = await open(undefined).run(["predict"]);
    expect(result.exit).toBe(1);
    expect(result.stderr).toMatch(/^error \[PROJECT_CONFIG\]: cog\.yaml not found in /);
  });

  it("tells what to do with an image's name", async () => {
    const result = await open("echo").run(["predict", "some-image", "-i", "s=a"]);
    expect(result.exit).toBe(1);
    expect(result.stderr).toContain("docker run -d -p 5000:5000 some-image");
  });
});

describe("the shim that images have in Python's place", () => {
  it.each([
    [["-m", "pip", "freeze"], 0],
    [["--check-hash-based-pycs", "never", "-u", "-m", "pip", "freeze"], 0],
    [["-c", "print(1)"], 1],
    [["-m", "http.server"], 1],
    [[], 1],
  ])("ends %j with %i and prints no result", (words, exit) => {
    const { status, stdout } = spawnSync("sh", [shim, ...words], { encoding: "utf8" });
    expect([status, stdout]).toEqual([exit, ""]);
  });

  it("refuses unknown flags of the server with the usage, code 2", () => {
    const { status, stderr } = spawnSync("sh", [shim, "-m", "cog.server.http", "--nonsense"], {
      encoding: "utf8",
      env: { ...process.env, COG_APP_DIR: open(undefined).root },
    });
    expect([status, stderr]).toEqual([2, expect.stringContaining("--nonsense")]);
  });
});
