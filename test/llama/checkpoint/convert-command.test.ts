import { execFileSync } from "node:child_process";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { convertCommand } from "../../../src/llama/checkpoint/convert-command.ts";

describe("the command that converts a folder", () => {
  it.each([
    [resolve("unconverted-weights/7B"), "npx llama-lora convert unconverted-weights/7B weights"],
    ["/models/7B", "npx llama-lora convert /models/7B weights"],
    [resolve("-7B"), "npx llama-lora convert ./-7B weights"],
    [resolve("."), "npx llama-lora convert . weights"],
    [resolve("weights/7B"), "npx llama-lora convert weights/7B weights"],
  ])("names it as it is typed from here: %s", (folder, command) => {
    expect(convertCommand(folder)).toBe(command);
  });

  it.each(["/m/it's 7B", "/m/$(touch x)", "/m/a;b & c", "/m/*\n"])("can be pasted into a shell: %j", (folder) => {
    const words = convertCommand(join(folder, "7B")).replace("npx llama-lora convert", "printf '%s'");
    expect(execFileSync("sh", ["-c", words.replace(/ weights$/, "")], { encoding: "utf8" })).toBe(join(folder, "7B"));
  });

  it("moves the files first where they lie in the folder that is written", () => {
    expect(convertCommand(resolve("weights"))).toMatch(
      /^mkdir unconverted-weights && mv weights\/.+ && npx llama-lora convert unconverted-weights weights$/,
    );
  });
});
