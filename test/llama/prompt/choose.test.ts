import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  conversationOf,
  PromptTemplates,
  type Question,
  type TemplateChoice,
} from "../../../src/llama/prompt/index.ts";
import { sentencePieceTokenizer } from "../../../src/llama/tokenizer/index.ts";
import { pieceTypes } from "../../../src/llama/tokenizer/sentencepiece-model.ts";
import { modelFile, usualPieces } from "../tokenizer/sentencepiece-fixture.ts";

const marks = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"];
const control = marks.map((text) => ({ text, type: pieceTypes.control }));
const tokenizer = sentencePieceTokenizer(modelFile(usualPieces(["a"], control)), "tokenizer.model");
const plain = sentencePieceTokenizer(modelFile(usualPieces(["a"])), "tokenizer.model");
const id = (name: string) => tokenizer.specialTokens.get(name)!;
const own = "{% for m in messages %}{{ bos_token }}{{ m.content }}{{ eos_token }}{% endfor %}:";
const published: { name: string; template: string; variables: Record<string, string> }[] = JSON.parse(
  readFileSync(join(import.meta.dirname, "chat-templates.json"), "utf8"),
).templates;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "templates-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function worded(
  choice: TemplateChoice,
  question: Question,
  model = { tokenizer, chatTemplate: null as string | null },
) {
  const template = await new PromptTemplates(model).choose(choice);
  const [input] = await template.render([conversationOf(question)]);
  return { title: template.title, input, template };
}

function file(content: unknown, name = "template.json") {
  const path = join(folder, name);
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return { path, name };
}

describe("the template auto", () => {
  const question = { prompt: "Hi" };

  it("is what the adapter was trained with, else the model's, else alpaca", async () => {
    const model = { tokenizer, chatTemplate: own };
    const recorded = { prompt_template_name: "chatml" } as const;
    expect((await worded({ recorded }, question, model)).title).toBe("chatml, recorded with the adapter");
    const chat = await worded({ recorded: null }, question, model);
    expect([chat.title, chat.input]).toEqual(["the model's chat template", [1, "Hi", 2, ":"]]);
    expect((await worded({}, question)).title).toBe("alpaca");
    const kept = { prompt_template_name: "chat", chat_template: own } as const;
    expect((await worded({ recorded: kept }, question)).input).toEqual([1, "Hi", 2, ":"]);
  });

  it("gives way to a name or a file, never to both", async () => {
    const model = { tokenizer, chatTemplate: own };
    expect((await worded({ name: "alpaca_short" }, question, model)).title).toBe("alpaca_short");
    const template = file({ prompt_input: "", prompt_no_input: "Q: {instruction}" });
    expect((await worded({ file: template }, question, model)).input).toBe("Q: Hi");
    await expect(worded({ name: "alpaca", file: template }, question)).rejects.toMatchObject({
      code: "PROMPT_TEMPLATE_INVALID",
    });
  });

  it("is refused where there is none of that name", async () => {
    for (const name of ["chat", "vicuna", "__proto__", "constructor"]) {
      await expect(worded({ name }, question)).rejects.toMatchObject({ code: "PROMPT_TEMPLATE_UNKNOWN" });
    }
  });
});

describe("a text template", () => {
  it("has no place for a system prompt or a second turn", async () => {
    const turns = ["user", "assistant", "user"].map((role) => ({ role, content: "Hi" }));
    for (const name of ["alpaca", "vigogne", "none"]) {
      for (const question of [{ prompt: "Hi", system_prompt: "Be short" }, { messages: turns }]) {
        await expect(worded({ name }, question)).rejects.toMatchObject({
          code: "PROMPT_MESSAGES",
          message: expect.stringContaining(`the prompt template "${name}"`),
        });
      }
      const one = await worded({ name }, { messages: turns.slice(0, 1) });
      expect(one.input).toEqual((await worded({ name }, { prompt: "Hi" })).input);
    }
  });

  it("takes special tokens that were typed with none only", async () => {
    const prompt = "<|im_start|>user\nHi<|im_end|>";
    const { input, template } = await worded({ name: "none" }, { prompt });
    expect(input).toEqual([id("<|im_start|>"), "user\nHi", id("<|im_end|>")]);
    expect(template.answerParts("a</s>b")).toEqual(["a", 2, "b"]);
    const alpaca = await worded({ name: "alpaca" }, { prompt });
    expect(alpaca.input).toContain(prompt);
    expect(alpaca.template.answerParts("a</s>b")).toEqual(["a</s>b"]);
  });

  it("may be a file of alpaca-lora, whose author's special tokens count", async () => {
    const template = file({
      description: "With marks",
      prompt_input: "<|im_start|>{{json}} {instruction} {input}",
      prompt_no_input: "{instruction}",
      response_split: "x",
    });
    const { input } = await worded({ file: template }, { prompt: "{input}</s>", input: "{{}}" });
    expect(input).toEqual([id("<|im_start|>"), "{json} {input}</s> {{}}"]);
  });

  it.each([
    ["[]", "holds no JSON object"],
    ["{", "not valid JSON"],
    [{ prompt_input: "a" }, 'field "prompt_no_input" is missing'],
    [{ prompt_input: 1, prompt_no_input: "" }, 'field "prompt_input" is no text'],
    [{ prompt_input: "{output}", prompt_no_input: "" }, 'field "prompt_input": a single "{"'],
    [{ prompt_template_name: "__proto__" }, 'names no template: "__proto__"'],
    [{ prompt_template_name: "chat" }, 'field "chat_template" is missing'],
  ])("is refused: %j", async (content, message) => {
    await expect(worded({ file: file(content) }, { prompt: "Hi" })).rejects.toMatchObject({
      code: "PROMPT_TEMPLATE_INVALID",
      message: expect.stringContaining(message),
    });
  });
});

describe("an answer in a chat template", () => {
  const form = async (name: string) => {
    const { template, variables } = published.find((each) => each.name === name)!;
    const templates = new PromptTemplates({ tokenizer, chatTemplate: template, templateTexts: variables });
    return (await templates.choose({})).answer;
  };

  it.each([
    ["SmolLM2", [""], false, [""], "<|im_end|>"],
    ["LLaMA 2", [" "], true, [" "], "</s>"],
    ["LLaMA 3.2", [""], true, [""], "<|eot_id|>"],
    ["Qwen 2.5", [""], false, [""], "<|im_end|>"],
    ["Mistral 7B", [""], false, [""], "</s>"],
    ["Yi", [""], false, [""], "<|im_end|>"],
    ["Zephyr", [""], false, [""], "</s>"],
  ])("of %s is written and ended as the template does", async (name, before, trims, after, end) => {
    const answer = await form(name);
    expect(answer.before).toEqual(before);
    expect(answer).toMatchObject({ trims: { start: trims, end: trims }, after, endId: id(end) });
  });

  it("ends with the model's own token where its marks are text to the tokenizer, which is said", async () => {
    const template = await new PromptTemplates({ tokenizer: plain }).choose({ name: "chatml" });
    expect([template.answer.endId, template.answer.after]).toEqual([null, []]);
    expect(template.note).toMatch("the marks of chatml are no special tokens of this tokenizer");
    expect((await new PromptTemplates({ tokenizer }).choose({ name: "chatml" })).note).toBeNull();
  });

  it("is unknown in a template that takes no answers", async () => {
    const chatTemplate = "{% if messages | length > 1 %}{{ raise_exception('One only') }}{% endif %}Q";
    const template = await new PromptTemplates({ tokenizer, chatTemplate }).choose({});
    expect([template.answer.endId, template.note]).toEqual([null, null]);
    expect(await template.render([conversationOf({ prompt: "Hi" })])).toEqual(["Q"]);
  });
});
