import type { Message } from "../../llama/prompt/index.ts";
import { quoted } from "./problems.ts";

/** A conversation that can be learnt from, or what is wrong with it. */
export type ReadConversation =
  | { readonly system: string | null; readonly turns: readonly Message[]; readonly unanswered: number }
  | { readonly wrong: string[] };

type Role = Message["role"];

const roles: ReadonlyMap<unknown, Role> = new Map([
  ["system", "system"],
  ["user", "user"],
  ["assistant", "assistant"],
]);
/** ShareGPT's names, and those of its kin. */
const speakers: ReadonlyMap<unknown, Role> = new Map([
  ...(roles as ReadonlyMap<string, Role>),
  ["human", "user"],
  ["gpt", "assistant"],
  ["chatgpt", "assistant"],
  ["bing", "assistant"],
  ["bard", "assistant"],
  ["model", "assistant"],
  ["bot", "assistant"],
]);
/** Problems named of one conversation. */
const mostNamed = 3;

/**
 * Turns of OpenAI's chat format ({"role", "content"}) or ShareGPT's ({"from", "value"}): a system message first where there
 * is one, then user and assistant in turn. What the user says last and nobody answers is cut off and counted.
 * @param name of the list in messages
 */
export function readConversation(list: unknown, system: unknown, name: string): ReadConversation {
  if (!Array.isArray(list)) return { wrong: [`field ${name} must be a list of turns, found ${typeName(list)}`] };
  const wrong: string[] = [];
  const turns: Message[] = [];
  for (const [index, value] of list.entries()) {
    const turn = readTurn(value);
    if (typeof turn === "string") wrong.push(`turn ${index + 1} ${turn}`);
    else turns.push(turn);
    if (wrong.length === mostNamed) break;
  }
  if (wrong.length > 0) return { wrong };
  const first = turns[0]?.role === "system" ? turns.shift()!.content : null;
  if (first !== null && typeof system === "string" && system !== "" && system !== first) {
    return { wrong: ['both a field "system" and a turn of the system are given'] };
  }
  const before = list.length - turns.length;
  for (const [index, { role }] of turns.entries()) {
    const expected = index % 2 === 0 ? "user" : "assistant";
    if (role === expected) continue;
    return { wrong: [`turn ${index + before + 1} is the ${role}'s where the ${expected}'s is expected`] };
  }
  const unanswered = turns.length % 2;
  if (unanswered > 0) turns.pop();
  if (turns.length === 0) return { wrong: [`${name} holds no answer of the assistant`] };
  return { system: first ?? (typeof system === "string" && system !== "" ? system : null), turns, unanswered };
}

/** A turn, or what is wrong with it. */
function readTurn(value: unknown): Message | string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return `must be an object, found ${typeName(value)}`;
  }
  const turn = value as Readonly<Record<string, unknown>>;
  const isShareGpt = Object.hasOwn(turn, "from") && !Object.hasOwn(turn, "role");
  const [roleName, textName] = isShareGpt ? ["from", "value"] : ["role", "content"];
  for (const name of ["tool_calls", "function_call"]) {
    if (isGiven(turn[name])) return `has "${name}": calls of tools cannot be trained on`;
  }
  if (turn.weight === 0) return 'has "weight" 0: every answer is learnt';
  const found = turn[roleName];
  if (found === undefined) return `lacks "${roleName}"`;
  const role = (isShareGpt ? speakers : roles).get(found);
  if (role === undefined) {
    const known = [...(isShareGpt ? speakers : roles).keys()].join(", ");
    return `has "${roleName}" ${shownValue(found)}, not one of ${known}`;
  }
  const content = textOf(turn[textName]);
  if (typeof content === "string") return { role, content };
  return `has "${textName}" ${content.wrong}`;
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0);
}

/** A text, also where it comes as OpenAI's list of parts. */
function textOf(content: unknown): string | { readonly wrong: string } {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return { wrong: `${shownValue(content)}, not a text` };
  let text = "";
  for (const part of content) {
    const fields = typeof part === "object" && part !== null ? (part as Record<string, unknown>) : {};
    if (fields.type !== "text") return { wrong: `with a part of the type ${shownValue(fields.type)}, not "text"` };
    if (typeof fields.text !== "string") return { wrong: "with a part without its text" };
    text += fields.text;
  }
  return text;
}

function shownValue(value: unknown): string {
  if (value === undefined) return "missing";
  return typeof value === "string" ? quoted(value) : typeName(value);
}

/** JSON's name for the type of a value. */
export function typeName(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}
