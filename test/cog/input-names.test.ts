import { describe, expect, it } from "vitest";
import { FilesInBody } from "../../src/cog/cli/input/files-in-body.ts";
import { resolveInputs } from "../../src/cog/cli/input/resolve.ts";
import { inputSchema, type ModelDocument } from "../../src/cog/cli/input/schema.ts";
import { parsePairs } from "../../src/cog/cli/input/supplied.ts";
import { defineTrainer, Input, Output } from "../../src/cog/index.ts";
import { InputSchema } from "../../src/cog/prediction/input-schema.ts";
import { openApiDocument } from "../../src/cog/schema/openapi.ts";

const trainer = defineTrainer({
  inputs: {
    dataset: Input.path({ aliases: ["train_data", "data_path"] }).optional(),
    num_epochs: Input.integer({ default: 3, aliases: ["num_train_epochs"] }),
    prompts: Input.list(Input.string(), { acceptsOne: true, aliases: ["prompt"] }).optional(),
  },
  refused: { fake_output: "it was for tests; leave it out" },
  output: Output.string(),
  train: () => "",
});
const document = openApiDocument(null, trainer);
const schema = new InputSchema(document, "TrainingInput");
const command = inputSchema(document as unknown as ModelDocument, "/trainings")!;
const resolve = (...words: string[]) => resolveInputs(parsePairs(words), command, new FilesInBody({ isOurs: true }));

describe("other names of inputs", () => {
  it("are taken as the input's own, by a server and by a command", async () => {
    const given = { train_data: "https://a", num_train_epochs: 5, prompt: "Who?" };
    const input = { dataset: "https://a", num_epochs: 5, prompts: ["Who?"] };
    expect(schema.check(given)).toEqual({ input, unknown: [] });
    expect(await resolve("train_data=https://a", "num_train_epochs=5", "prompt=Who?")).toEqual(input);
  });

  it("are checked as it is", async () => {
    expect(schema.check({ num_train_epochs: "x" })).toMatchObject({
      problems: [{ loc: ["body", "input", "num_epochs"] }],
    });
    await expect(resolve("num_train_epochs=x")).rejects.toThrow('invalid input "num_epochs": expected integer');
  });

  it("are refused beside it, and beside each other", async () => {
    const message = "means num_epochs, and num_epochs is given too";
    expect(schema.check({ num_epochs: 3, num_train_epochs: 3 })).toEqual({
      problems: [{ loc: ["body", "input", "num_train_epochs"], msg: message, type: "value_error" }],
    });
    await expect(resolve("num_epochs=3", "num_train_epochs=3")).rejects.toThrow(
      `invalid input "num_train_epochs": ${message}`,
    );
    expect(schema.check({ train_data: "https://a", data_path: "https://b" })).toMatchObject({
      problems: [
        { msg: "means dataset, and data_path is given too" },
        { msg: "means dataset, and train_data is given too" },
      ],
    });
  });

  it("name files in the body of a request", () => {
    expect(schema.fileNames).toEqual(["dataset", "train_data", "data_path"]);
    expect(schema.ownPlaces({ train_data: 1, "prompt/3": 2, other: 3 })).toEqual({
      dataset: 1,
      "prompts/3": 2,
      other: 3,
    });
  });

  it("are published beside the input, and nothing is where there are none", () => {
    const { TrainingInput } = document.components!.schemas as Record<string, { properties: object }>;
    expect(TrainingInput!.properties).toMatchObject({ num_epochs: { "x-aliases": ["num_train_epochs"] } });
    const plain = defineTrainer({ inputs: { n: Input.integer() }, output: Output.string(), train: () => "" });
    expect(JSON.stringify(openApiDocument(null, plain))).not.toMatch(/x-(aliases|refused)/);
  });
});

describe("names that are refused", () => {
  it("say what to use instead", async () => {
    expect(schema.check({ fake_output: "a" })).toMatchObject({
      problems: [{ loc: ["body", "input", "fake_output"], msg: "it was for tests; leave it out" }],
    });
    await expect(resolve("fake_output=a")).rejects.toThrow(
      'invalid input "fake_output": it was for tests; leave it out',
    );
  });
});

describe("a declaration of names", () => {
  const declare =
    (aliases: unknown, refused: unknown = {}) =>
    () =>
      defineTrainer({
        inputs: { n: Input.integer({ aliases: aliases as string[] }), m: Input.integer({ aliases: ["k"] }) },
        refused: refused as Record<string, string>,
        output: Output.string(),
        train: () => "",
      });

  it.each([
    [["m"], {}, 'input "n": alias "m": this name is taken'],
    [["k"], {}, 'input "m": alias "k": this name is taken'],
    [["a b"], {}, 'input "n": alias "a b": a name must be'],
    ["m", {}, 'input "n": aliases must be a list'],
    [[], { n: "x" }, 'refused name "n": this name is taken'],
    [[], { z: 1 }, 'refused name "z": what to use is no text'],
  ])("gives every name one meaning: %j, %j", (aliases, refused, message) => {
    expect(declare(aliases, refused)).toThrow(message);
  });
});
