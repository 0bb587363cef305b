import { describe, expect, it } from "vitest";
import { asCalled, calledAs } from "../../src/terminal/called-as.ts";

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

  it.each([
    [
      "npx links a package's own command elsewhere",
      "/c/_npx/1/cog",
      { npm_lifecycle_event: "npx", npm_lifecycle_script: "'cog' 'train'" },
      "npx cog",
    ],
    ["a script of package.json finds it", "/x/node_modules/.bin/cog", { npm_lifecycle_event: "teach" }, "npx cog"],
    ["a folder of the PATH holds it", "/work/cog", { PATH: "/work:/usr/bin" }, "cog"],
    ["it lies in the folder", "/work/cog", {}, "./cog"],
    ["it lies below the folder", "/work/scripts/cog.mjs", {}, "node scripts/cog.mjs"],
  ])("are shown as a shell finds them where %s", (_, script, env, shown) => {
    expect(calledAs(script, "cog", env, "/work")).toBe(shown);
  });
});
