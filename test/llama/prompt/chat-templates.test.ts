import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { RaisedByTemplate, renderChats } from "../../../src/llama/prompt/chat-template/render.ts";
import { type ChatFormat, chatFormats } from "../../../src/llama/prompt/chat-template/sources.ts";
import type { Message } from "../../../src/llama/prompt/conversation.ts";

interface Case {
  readonly conversation: number;
  /** Else without its last message. */
  readonly whole: boolean;
  readonly addGenerationPrompt: boolean;
  readonly text?: string;
  readonly raised?: string;
}
interface Golden {
  readonly source: string;
  readonly conversations: Message[][];
  readonly templates: { name: string; template: string; variables: Record<string, string>; cases: Case[] }[];
}
// What transformers renders (see the file's `source`).
const golden: Golden = JSON.parse(readFileSync(join(import.meta.dirname, "chat-templates.json"), "utf8"));

function conversationOf({ conversation, whole }: Case): Message[] {
  return golden.conversations[conversation]!.slice(0, whole ? undefined : -1);
}

function render(template: string, variables: Record<string, string>, item: Case) {
  const conversations = [conversationOf(item)];
  const { addGenerationPrompt } = item;
  try {
    const request = { template, variables, conversations, addGenerationPrompt, specialTokens: new Map() };
    return { text: renderChats(request)[0]!.join("") };
  } catch (error) {
    if (error instanceof RaisedByTemplate) return { raised: error.message };
    throw error;
  }
}

describe("a published chat template", () => {
  it.each(golden.templates)("$name is rendered as transformers renders it", ({ template, variables, cases }) => {
    expect(cases.length).toBeGreaterThan(0);
    for (const item of cases) {
      const { text, raised } = item;
      expect(render(template, variables, item)).toEqual(raised === undefined ? { text } : { raised });
    }
  });

  it("may ask for the date, as Python writes it", () => {
    const template = "{{ strftime_now('%d %b %Y, %B %A %y %% %Q') }}";
    const request = {
      template,
      variables: {},
      conversations: [[]],
      addGenerationPrompt: true,
      specialTokens: new Map(),
    };
    const now = new Date();
    const in_ = (options: Intl.DateTimeFormatOptions) => now.toLocaleDateString("en-US", options);
    const [day, year] = [String(now.getDate()).padStart(2, "0"), now.getFullYear()];
    const [month, weekday] = [in_({ month: "long" }), in_({ weekday: "long" })];
    const expected = `${day} ${month.slice(0, 3)} ${year}, ${month} ${weekday} ${year % 100} % %Q`;
    expect(renderChats(request)).toEqual([[expected]]);
  });
});

describe("a chat format known by name", () => {
  it.each([
    ["llama-2", "LLaMA 2"],
    ["llama-3", "LLaMA 3.1"],
    ["chatml", "Yi"],
  ] as [ChatFormat, string][])("%s is %s's own template without the BOS before it", (format, published) => {
    const { variables, cases } = golden.templates.find(({ name }) => name === published)!;
    for (const item of cases.filter(({ text }) => text !== undefined)) {
      const bos = item.text!.startsWith(variables.bos_token!) ? variables.bos_token!.length : 0;
      expect(render(chatFormats[format], variables, item)).toEqual({ text: item.text!.slice(bos) });
    }
  });
});
