import { expect, it } from "vitest";
import { definePredictor, Input, Output } from "../../src/cog/index.ts";
import { InputSchema } from "../../src/cog/prediction/input-schema.ts";
import { openApiDocument } from "../../src/cog/schema/openapi.ts";

const predictor = definePredictor({
  inputs: {
    files: Input.list(Input.path(), { acceptsOne: true, maxItems: 2 }).optional(),
    plain: Input.list(Input.number()).optional(),
  },
  output: Output.string(),
  predict: () => "",
});
const schema = new InputSchema(openApiDocument(predictor, null), "Input");

it("a list that accepts one takes a single value as a list of it; others do not", () => {
  expect(schema.check({ files: "https://a" })).toEqual({ input: { files: ["https://a"], plain: null }, unknown: [] });
  expect(schema.check({ files: ["https://a", "https://b"] })).toMatchObject({
    input: { files: ["https://a", "https://b"] },
  });
  expect(schema.check({})).toMatchObject({ input: { files: null } });
  expect(schema.check({ files: 3 })).toMatchObject({ problems: [{ msg: '3 is not of type "string"' }] });
  expect(schema.check({ files: ["a", "b", "c"] })).toMatchObject({ problems: [{ loc: ["body", "input", "files"] }] });
  expect(schema.check({ plain: 3 })).toMatchObject({ problems: [{ msg: '3 is not of type "array"' }] });
});
