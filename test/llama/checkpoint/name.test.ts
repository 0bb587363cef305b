import { describe, expect, it } from "vitest";
import { publishedName } from "../../../src/llama/checkpoint/name.ts";

describe("the published name of a model", () => {
  it.each([
    ["meta-llama/Llama-2-7b-hf", "/models/x", "meta-llama/Llama-2-7b-hf"],
    ["/home/someone/llama", "/models/x", null],
    ["../llama", "/models/x", null],
    ["weights", "/models/x", null],
    ["out/checkpoint-500", "/models/x", null],
    [null, "/models/Llama-2-7b-hf", "Llama-2-7b-hf"],
    [null, "/models/mine", null],
    [
      null,
      "/cache/models--meta-llama--Llama-3.2-1B/snapshots/0123456789012345678901234567890123456789",
      "meta-llama/Llama-3.2-1B",
    ],
  ])("_name_or_path %j in %j is %j", (given, folder, name) => {
    expect(publishedName(given, folder)).toBe(name);
  });
});
