import { type ChatFormat, chatFormats } from "./chat-template/sources.ts";
import { type TextTemplateName, textTemplates } from "./text-templates.ts";

/** A template that is known by its name alone. */
export type NamedTemplate = TextTemplateName | ChatFormat;

/** What predict.ts and train.ts publish: `auto` chooses, `chat` is the model's own template. */
export type TemplateName = "auto" | "chat" | NamedTemplate;

const { none, ...alpacas } = textTemplates;

export const templateNames = [
  "auto",
  "chat",
  ...Object.keys(alpacas),
  ...Object.keys(chatFormats),
  "none",
] as TemplateName[];

export function isNamedTemplate(name: string): name is NamedTemplate {
  return Object.hasOwn(textTemplates, name) || Object.hasOwn(chatFormats, name);
}

export function isChatFormat(name: string): name is ChatFormat {
  return Object.hasOwn(chatFormats, name);
}
