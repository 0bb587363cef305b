import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../../src/llama/checkpoint/index.ts";
import { PromptEncoder } from "../../../src/llama/generation/prompt-encoder.ts";
import { PromptWording } from "../../../src/llama/generation/wording.ts";
import { writeTinyCheckpoint } from "./tiny-checkpoint.ts";

const template = "{% for m in messages %}{{ m.role + ': ' + m.content + eos_token }}{% endfor %}assistant: ";

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "wording-"));
  await writeTinyCheckpoint(folder);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function open(chatTemplate: string | null) {
  if (chatTemplate !== null) writeFileSync(join(folder, "chat_template.jinja"), chatTemplate);
  const checkpoint: Checkpoint = await openCheckpoint(folder);
  rmSync(join(folder, "chat_template.jinja"), { force: true });
  const warnings: string[] = [];
  const encoder = new PromptEncoder(checkpoint.tokenizer, checkpoint.config.maxPositionEmbeddings);
  return { wording: await PromptWording.open(checkpoint, encoder, (line) => warnings.push(line)), warnings, encoder };
}

describe("a question to a model", () => {
  it("is worded by the template that auto chooses, and a line says which", async () => {
    const lines: string[] = [];
    const options = { log: (line: string) => lines.push(line) };
    const { wording } = await open(template);
    const prompt = { prompt: "Hi", system_prompt: "Be short" };
    const { input, endIds } = await wording.word(prompt, null, options);
    expect(input).toEqual(["system: Be short", 2, "user: Hi", 2, "assistant: "]);
    expect(endIds).toContain(2);
    await wording.word({ prompt: "Hi" }, { prompt_template_name: "alpaca" }, options);
    await wording.word({ prompt: "Hi", prompt_template_name: "none" }, null, options);
    await (await open(null)).wording.word({ prompt: "Hi" }, null, options);
    expect(lines).toEqual([
      "prompt template: the model's chat template",
      "prompt template: alpaca, recorded with the adapter",
      "prompt template: alpaca",
    ]);
  });

  it("begins with BOS once, whether the template writes it or not", async () => {
    for (const start of ["", "{{ bos_token }}"]) {
      const { wording, encoder } = await open(`${start}${template}`);
      const tokens = await encoder.encode((await wording.word({ prompt: "Hi" }, null, {})).input);
      expect([...tokens].filter((token) => token === 1)).toEqual([1]);
      expect(tokens[0]).toBe(1);
    }
  });

  it("that is a text is passed as it stands", async () => {
    const { wording } = await open(template);
    expect((await wording.word("Hi</s>", null, {})).input).toBe("Hi</s>");
    expect((await wording.word(["Hi", 2], null, {})).input).toEqual(["Hi", 2]);
  });

  it("is refused before it is worded where it cannot fit", async () => {
    const { wording } = await open(
      "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}",
    );
    const long = "a".repeat(200_000);
    for (const question of [
      { prompt: long },
      { prompt: "", input: long },
      { messages: [{ role: "user", content: long }] },
    ]) {
      await expect(wording.word(question, null, {})).rejects.toMatchObject({ code: "PROMPT_TOO_LONG" });
    }
  });
});

describe("a chat template that cannot be used", () => {
  it("is a warning at the start, and an error where it is asked for", async () => {
    const { wording, warnings } = await open("{% if %}");
    expect(warnings).toEqual([expect.stringContaining("the chat template cannot be used")]);
    expect(await wording.defaultTitle(null)).toBe(warnings[0]);
    await expect(wording.word({ prompt: "Hi" }, null, {})).rejects.toMatchObject({ code: "PROMPT_TEMPLATE_INVALID" });
    expect((await wording.word({ prompt: "Hi", prompt_template_name: "none" }, null, {})).input).toBe("Hi");
  });
});
