import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { buildCommand, ProjectFolder } from "./command.ts";

beforeAll(buildCommand);

const opened: ProjectFolder[] = [];
afterEach(() => {
  for (const project of opened.splice(0)) project.remove();
});

/** A project whose predict.ts begins with an import and types, which leave no line in the JavaScript. */
function open(code: string, files: Record<string, string> = {}): ProjectFolder {
  const start = `import { definePredictor, Input, Output } from "llama-lora-cog/cog";
interface Settings {
  a: { b: number };
}
`;
  const project = new ProjectFolder("echo", { "predict.ts": start + code, ...files });
  opened.push(project);
  return project;
}

const predictor = (more: string) => `export default definePredictor({ inputs: {}, output: Output.string(), ${more} });`;

describe("a file of the author that cannot be loaded is one message with place, line and caret", () => {
  it.each([
    [
      "TypeScript with a mistake, after characters of several bytes",
      `const s = "äöü🦙" + ;\n`,
      {},
      (dir: string) =>
        `${dir}/predict.ts:5:21: Unexpected ";"\n\n  5 | const s = "äöü🦙" + ;\n    | ${" ".repeat(20)}^\n`,
    ],
    [
      "a mistake in a module that it imports",
      `import { x } from "./deep/helper.ts";\n${predictor("predict: () => x")}`,
      { "deep/helper.ts": "export const x: string = \n" },
      (dir: string) => `${dir}/deep/helper.ts:2:1: Unexpected end of file\n\n  2 | \n    | ^\n`,
    ],
    [
      "a mistake in JavaScript",
      `import { x } from "./helper.js";\n${predictor("predict: () => x")}`,
      { "helper.js": "export const x = ;\n", "package.json": '{"type":"module"}' },
      (dir: string) => `${dir}/helper.js:1:18: Unexpected ";"\n\n  1 | export const x = ;\n    | ${" ".repeat(17)}^\n`,
    ],
    [
      "an export that is not there",
      `import { nothing } from "./helper.ts";\n${predictor("predict: () => nothing")}`,
      { "helper.ts": "export const x = 1;" },
      (dir: string) => `${dir}/predict.ts:`,
    ],
    [
      "a module that is not there",
      `import { x } from "./nowhere.ts";\n${predictor("predict: () => x")}`,
      {},
      (dir: string) =>
        `${dir}/predict.ts:5:22: Cannot find module '${dir}/nowhere.ts'\n\n  5 | import { x } from "./nowhere.ts";\n`,
    ],
  ])("%s", async (_, code, files, expected) => {
    const project = open(code, files);
    const { exit, stdout, stderr } = await project.run(["predict"]);
    expect([exit, stdout]).toEqual([1, ""]);
    expect(stderr).toContain(`error [PREDICTOR_INVALID]: ${expected(project.path)}`);
    expect(stderr).toMatch(/\n {2}\d+ \| .*\n +\| *\^\n$/);
    expect(stderr).not.toMatch(/^ +at /m);
    const doctor = await project.run(["doctor"], { env: { PORT: "0" } });
    expect(doctor.stdout).toContain(`error  predict: [PREDICTOR_INVALID] ${expected(project.path).split("\n")[0]}`);
    expect(doctor.stdout).toMatch(/\n {9}\d+ \| .*\n +\| *\^\n/);
  });
});

describe("an error at run time names file and line of the TypeScript, and no frame of this package", () => {
  const fault = "const nothing = undefined as unknown as Settings; return String(nothing.a.b);";
  const message = "TypeError: Cannot read properties of undefined (reading 'a')";

  it("while the file is loaded, in doctor too", async () => {
    const project = open(`const nothing: Settings = JSON.parse("null");\nconsole.log(nothing.a.b);\n`);
    const { exit, stderr } = await project.run(["predict"]);
    expect([exit, stderr]).toEqual([1, expect.stringMatching(/^TypeError: .*\n {4}at .*\/predict\.ts:6:21\)?\n$/)]);
    const doctor = await project.run(["doctor"], { env: { PORT: "0" } });
    expect(doctor.stdout).toMatch(/^error {2}predict: TypeError: .* \(.*\/predict\.ts:6:21\)$/m);
  });

  it("in setup, in doctor too", async () => {
    const project = open(predictor(`\n  setup() { ${fault} },\n  predict: () => ""`));
    const { exit, stderr } = await project.run(["predict"]);
    expect(exit).toBe(1);
    expect(stderr).toMatch(/\n {4}at .*\/predict\.ts:6:\d+\)?\nModel setup failed\n$/);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("/dist/");
    const doctor = await project.run(["doctor"], { env: { PORT: "0" } });
    expect(doctor.stdout).toMatch(/^error {2}setup: TypeError: .* \(.*\/predict\.ts:6:\d+\)$/m);
  });

  it("in predict", async () => {
    const { exit, stderr } = await open(predictor(`\n\n  predict() { ${fault} }`)).run(["predict"]);
    expect(exit).toBe(1);
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/\n {4}at .*\/predict\.ts:7:\d+\)?\nPrediction failed with status "failed": Cannot read/);
    expect(stderr).not.toContain("/dist/");
  });
});
