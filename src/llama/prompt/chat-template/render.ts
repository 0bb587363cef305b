import { Environment, parse, type Statement, tokenize } from "@huggingface/jinja";
import { LRUCache } from "lru-cache";
import type { Message } from "../conversation.ts";
import { type Part, SpecialNames } from "../special-names.ts";
import { BoundedInterpreter, type Limits } from "./bounded-interpreter.ts";
import { strftime } from "./python-text.ts";
import { longestTemplate } from "./sources.ts";

/** What a template is rendered with. */
export interface ChatRequest {
  /** Jinja. */
  readonly template: string;
  /** Names and ids of the tokenizer's special tokens. */
  readonly specialTokens: ReadonlyMap<string, number>;
  /** Variables beside the messages: bos_token and its like. */
  readonly variables: Readonly<Record<string, string>>;
  readonly conversations: readonly (readonly Message[])[];
  /** Whether the beginning of an answer follows. */
  readonly addGenerationPrompt: boolean;
}

/** The template has called raise_exception. */
export class RaisedByTemplate extends Error {}

/** Of the processor's time for one conversation; a published template takes one or two. */
const milliseconds = 1000;
const mostSteps = 500_000;
const mostItems = 10_000;

/** As transformers has its environment. */
const whitespace = { trim_blocks: true, lstrip_blocks: true };

// One request follows another with the same template and tokenizer.
const programs = new LRUCache<string, Statement>({
  max: 8,
  memoMethod: (template) => parse(tokenize(template, whitespace)),
});
/** By the entries of ChatRequest.specialTokens as JSON. */
const vocabularies = new LRUCache<string, SpecialNames>({
  max: 8,
  memoMethod: (entries) => new SpecialNames(new Map(JSON.parse(entries))),
});

/**
 * Each conversation as the template words it, names of special tokens as ids where the template wrote them, never where
 * a message did. Variables and functions are those of transformers' apply_chat_template; values live in maps, so that no
 * name reaches a prototype.
 * @throws RaisedByTemplate, the parser's and interpreter's errors
 */
export function renderChats(request: ChatRequest): Part[][] {
  const { template, variables, conversations, addGenerationPrompt } = request;
  if (template.length > longestTemplate) throw new Error(`has more than ${longestTemplate} characters`);
  const program = programs.memo(template);
  const names = vocabularies.memo(JSON.stringify([...request.specialTokens]));
  return conversations.map((messages) => {
    const texts = messages.map(({ content }) => content);
    const sentinels = names.sentinels([template, ...Object.values(variables), ...texts]);
    const guarded = messages.map((message) => ({ ...message, content: names.guarded(message.content, sentinels) }));
    const scope = globals();
    for (const [name, value] of Object.entries(variables)) scope.set(name, value);
    scope.set("messages", guarded);
    scope.set("add_generation_prompt", addGenerationPrompt);
    const limits = limitsFor(template, texts);
    const rendered = new BoundedInterpreter(scope, limits).run(program).value as string;
    return names.unguarded(rendered, sentinels);
  });
}

/** A template writes each text once or twice, and some words around it. */
function limitsFor(template: string, texts: readonly string[]): Limits {
  const length = texts.reduce((sum, text) => sum + text.length, 0);
  const characters = 4 * (length + template.length) + 256 * texts.length + 2 ** 16;
  return { steps: mostSteps, characters, items: Math.max(mostItems, characters), milliseconds };
}

function globals(): Environment {
  const scope = new Environment();
  for (const name of ["none", "None", "tools", "documents"]) scope.set(name, null);
  for (const name of ["true", "True"]) scope.set(name, true);
  for (const name of ["false", "False"]) scope.set(name, false);
  scope.set("range", range);
  scope.set("strftime_now", (format: unknown) => strftime(new Date(), String(format)));
  scope.set("raise_exception", (message: unknown) => {
    throw new RaisedByTemplate(String(message));
  });
  return scope;
}

/** Python's range, not longer than a list may be. */
function range(first: number, last?: number, step = 1): number[] {
  const [start, stop] = last === undefined ? [0, first] : [first, last];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= mostItems)) throw new Error(`range() of ${length} items; at most ${mostItems} are allowed`);
  return Array.from({ length }, (_, i) => start + i * step);
}
