import type { Tokenizer } from "./tokenizer.ts";

/**
 * What is encoded: text, or texts with token ids between them. Names of special tokens in a text are plain text; only
 * ids stand for the tokens themselves.
 */
export type TokenizerInput = string | readonly (string | number)[];

/** The texts and ids of `input` in order, without empty texts. */
export function inputParts(input: TokenizerInput): readonly (string | number)[] {
  if (typeof input === "string") return input === "" ? [] : [input];
  return input.filter((part) => part !== "");
}

/** UTF-16 units of the texts, and one for each id. */
export function inputLength(input: TokenizerInput): number {
  if (typeof input === "string") return input.length;
  return input.reduce<number>((sum, part) => sum + (typeof part === "string" ? part.length : 1), 0);
}

/**
 * `text` with the names of the tokenizer's special tokens turned into their ids, the longest name at a place first.
 * Only for text whose author may write special tokens, never for a user's text inside a template.
 */
export function splitSpecialTokens(text: string, { specialTokens }: Tokenizer): TokenizerInput {
  const names = [...specialTokens.keys()].filter((name) => name !== "").sort((a, b) => b.length - a.length);
  if (names.length === 0) return text;
  const pattern = new RegExp(names.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|"), "gu");
  const parts: (string | number)[] = [];
  let from = 0;
  for (const { 0: name, index } of text.matchAll(pattern)) {
    if (index > from) parts.push(text.slice(from, index));
    parts.push(specialTokens.get(name)!);
    from = index + name.length;
  }
  if (from < text.length) parts.push(text.slice(from));
  return parts;
}
