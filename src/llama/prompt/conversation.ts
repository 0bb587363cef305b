import { CodedError } from "../../errors/index.ts";

export const messageRoles = ["system", "user", "assistant"] as const;

/** A turn of a conversation, as chat templates take it. */
export interface Message {
  readonly role: (typeof messageRoles)[number];
  readonly content: string;
}

/** What is asked, under the names that predict.ts publishes; null and absent are the same. */
export interface Question {
  /** An instruction, or with the template `none` the text to continue. */
  readonly prompt?: string | null;
  /** Context of the instruction; "" is none. */
  readonly input?: string | null;
  /** The turns of a conversation instead of `prompt`: Message objects. */
  readonly messages?: readonly unknown[] | null;
  readonly system_prompt?: string | null;
}

/** A question that can be worded: turns by user and assistant, the last one the user's. */
export interface Conversation {
  readonly system: string | null;
  readonly turns: readonly Message[];
  /** Context of the only turn; "" where there is none. */
  readonly input: string;
}

const format = 'A message is {"role": "user", "content": "..."}; roles are system, user and assistant.';

/** @throws PROMPT_MESSAGES naming what is missing, contradicts itself or is no message */
export function conversationOf({ prompt, input, messages, system_prompt }: Question): Conversation {
  const hasPrompt = (prompt ?? null) !== null;
  if (hasPrompt === ((messages ?? null) !== null)) {
    const found = hasPrompt ? "both prompt and messages are given" : "neither prompt nor messages is given";
    throw refused(found, "Give exactly one of them: prompt for one instruction, messages for a conversation.");
  }
  const system = system_prompt ?? null;
  if (hasPrompt) return { system, turns: [{ role: "user", content: prompt! }], input: input ?? "" };
  if (input) throw refused("input is given beside messages", "It goes with prompt; write it into a message.");
  const turns = messages!.map(checkMessage);
  const first = turns[0]?.role === "system" ? turns.shift() : undefined;
  if (first && system !== null) {
    throw refused("both system_prompt and a message of the role system are given", "Give one of them.");
  }
  const later = turns.findIndex(({ role }) => role === "system");
  if (later >= 0) throw refused("a message of the role system is not the first one", format);
  if (turns.at(-1)?.role !== "user") {
    const found = turns.length === 0 ? "messages holds no message of the user" : "the last message is the assistant's";
    throw refused(found, "The last message is what the model answers: one of the role user.");
  }
  return { system: first?.content ?? system, turns, input: "" };
}

/** The messages that a chat template is given. */
export function messagesOf({ system, turns, input }: Conversation): Message[] {
  const all = turns.map((turn) => (input === "" ? turn : { ...turn, content: `${turn.content}\n${input}` }));
  return system === null ? all : [{ role: "system", content: system }, ...all];
}

function checkMessage(value: unknown, index: number): Message {
  const fields = new Map(typeof value === "object" && value !== null ? Object.entries(value) : []);
  const [role, content] = [fields.get("role"), fields.get("content")];
  const known = messageRoles.find((name) => name === role);
  if (known === undefined) throw refused(`messages.${index}: role is ${shown(role)}`, format);
  if (typeof content !== "string") throw refused(`messages.${index}: content is ${shown(content)}, not a text`, format);
  const other = [...fields.keys()].find((name) => name !== "role" && name !== "content");
  if (other !== undefined) throw refused(`messages.${index}: unknown field ${shown(other)}`, format);
  return { role: known, content };
}

function shown(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value).slice(0, 100);
}

function refused(found: string, hint: string): CodedError {
  return new CodedError("PROMPT_MESSAGES", found, { hint });
}
