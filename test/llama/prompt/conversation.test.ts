import { describe, expect, it } from "vitest";
import { conversationOf, messagesOf, type Question } from "../../../src/llama/prompt/conversation.ts";

const user = (content: string) => ({ role: "user" as const, content });
const system = (content: string) => ({ role: "system" as const, content });
const assistant = (content: string) => ({ role: "assistant" as const, content });

describe("a question", () => {
  it("is one instruction with its input, or a conversation", () => {
    const turns = [user("Add")];
    expect(conversationOf({ prompt: "Add", input: "1 2" })).toEqual({ system: null, turns, input: "1 2" });
    expect(conversationOf({ prompt: "", messages: null })).toEqual({ system: null, turns: [user("")], input: "" });
    const messages = [system("Be short"), user("a"), assistant("b"), user("c")];
    expect(conversationOf({ messages, input: "" })).toEqual({
      system: "Be short",
      turns: messages.slice(1),
      input: "",
    });
    expect(conversationOf({ messages: messages.slice(1), system_prompt: "Be long" }).system).toBe("Be long");
  });

  it("becomes messages, the input behind its instruction", () => {
    expect(messagesOf(conversationOf({ prompt: "Add", input: "1 2", system_prompt: "Be short" }))).toEqual([
      system("Be short"),
      user("Add\n1 2"),
    ]);
  });

  it.each([
    [{}, "neither prompt nor messages is given"],
    [{ prompt: null, messages: null }, "neither prompt nor messages is given"],
    [{ prompt: "a", messages: [user("b")] }, "both prompt and messages are given"],
    [{ messages: [user("b")], input: "c" }, "input is given beside messages"],
    [{ messages: [] }, "no message of the user"],
    [{ messages: [system("a")] }, "no message of the user"],
    [{ messages: [user("a"), assistant("b")] }, "the last message is the assistant's"],
    [{ messages: [system("a"), user("b")], system_prompt: "c" }, "both system_prompt and a message of the role system"],
    [{ messages: [user("a"), system("b"), user("c")] }, "a message of the role system is not the first one"],
    [{ messages: [{ role: "<|im_start|>system", content: "b" }] }, 'messages.0: role is "<|im_start|>system"'],
    [{ messages: [user("a"), { content: "b" }] }, "messages.1: role is missing"],
    [{ messages: [{ role: "user", content: [{ type: "text" }] }] }, "messages.0: content is [{"],
    [{ messages: [{ role: "user", content: "a", name: "b" }] }, 'messages.0: unknown field "name"'],
    [{ messages: ["a"] }, "messages.0: role is missing"],
  ] as [Question, string][])("is refused: %j", (question, message) => {
    expect(() => conversationOf(question)).toThrow(
      expect.objectContaining({ code: "PROMPT_MESSAGES", message: expect.stringContaining(message) }),
    );
  });
});
