import { describe, expect, it } from "vitest";
import { asCalled } from "../../src/terminal/called-as.ts";

describe("commands in messages", () => {
  it.each([
    ["/x/node_modules/.bin/cog", "`npx cog predict`, `npx llama-lora convert a`"],
    ["/x/node_modules/.bin/llama-lora-cog", "`npx llama-lora-cog predict`, `npx llama-lora convert a`"],
    ["/x/node_modules/.bin/llama-lora", "`npx cog predict`, `npx llama-lora convert a`"],
    ["/x/scripts/llama-lora.mjs", "`node /x/scripts/cog.mjs predict`, `node /x/scripts/llama-lora.mjs convert a`"],
  ])("are shown as %s was called", (script, shown) => {
    expect(asCalled("`cog predict`, `llama-lora convert a`", script)).toBe(shown);
  });

  it("are left alone where they are no commands", () => {
    expect(asCalled("`cognac` and `llama-lora.gguf`", "/x/node_modules/.bin/cog")).toBe(
      "`cognac` and `llama-lora.gguf`",
    );
  });
});
