import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readChatTemplate } from "../../../src/llama/checkpoint/chat-template.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "chat-template-"));
  mkdirSync(join(folder, "tokenizer"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const configOf = (config: unknown, of = ".") =>
  writeFileSync(
    join(folder, of, "tokenizer_config.json"),
    typeof config === "string" ? config : JSON.stringify(config),
  );
const read = async () => (await readChatTemplate([folder, join(folder, "tokenizer")])).chatTemplate;

describe("a model's chat template", () => {
  it("is a text in tokenizer_config.json, or the default one of a list", async () => {
    expect(await read()).toBeNull();
    configOf({ chat_template: "text" });
    expect(await read()).toBe("text");
    const named = [
      { name: "tool_use", template: "tools" },
      { name: "default", template: "default one" },
    ];
    configOf({ chat_template: named });
    expect(await read()).toBe("default one");
    configOf({ chat_template: null });
    expect(await read()).toBeNull();
  });

  it("is chat_template.jinja where there is one, and may lie with the tokenizer", async () => {
    configOf({ chat_template: "beside" }, "tokenizer");
    expect(await read()).toBe("beside");
    configOf({ chat_template: "text" });
    writeFileSync(join(folder, "chat_template.jinja"), "file");
    expect(await read()).toBe("file");
  });

  it("comes with the texts of its special tokens", async () => {
    configOf({ bos_token: "<s>", eos_token: { content: "</s>", lstrip: false }, pad_token: null, unk_token: 3 });
    expect(await readChatTemplate([folder])).toEqual({
      chatTemplate: null,
      templateTexts: { bos_token: "<s>", eos_token: "</s>" },
    });
  });

  it.each([
    ["{", "not valid JSON"],
    [{ chat_template: 3 }, '"chat_template" is no text'],
    [{ chat_template: [{ name: "tool_use", template: "tools" }] }, 'no list with one named "default"'],
    [{ chat_template: [{ name: "default", template: 3 }] }, 'no list with one named "default"'],
  ])("is refused by file: %j", async (config, message) => {
    configOf(config);
    await expect(read()).rejects.toMatchObject({
      code: "TOKENIZER_CORRUPT",
      message: expect.stringMatching(`tokenizer_config.json: .*${message}`),
    });
  });
});
