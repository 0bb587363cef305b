import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildCommand, ProjectFolder } from "./command.ts";

const predictor = `import { CodedError, Llama, renderPrompt, trainLora } from "llama-lora-cog";
import { definePredictor, Output } from "llama-lora-cog/cog";

export default definePredictor({
  inputs: {},
  output: Output.string(),
  predict: () => [renderPrompt("none", "as it stands"), typeof Llama.load, typeof trainLora, CodedError.name].join(" "),
});
`;

describe("a project that has installed nothing", () => {
  let project: ProjectFolder;
  beforeAll(() => {
    buildCommand();
    project = new ProjectFolder(undefined, { "cog.yaml": "predict: predict.ts\n", "predict.ts": predictor });
  });
  afterAll(() => project.remove());

  it("imports the library from the package that runs it", async () => {
    const { stdout, stderr } = await project.run(["predict"]);
    expect([stdout, stderr]).toEqual(["as it stands function function CodedError\n", expect.any(String)]);
  });
});
