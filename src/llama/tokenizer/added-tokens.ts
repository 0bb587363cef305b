import type { Steps } from "../time-slices.ts";
import { firstOther, lastOther } from "./normalizers.ts";
import { TokenTrie } from "./token-trie.ts";
import type { AddedToken } from "./tokenizer-json.ts";

/** A stretch of text, or the added token at its place. */
export type Section = { readonly text: string; readonly start: number } | AddedToken;

const endsWithWord = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const startsWithWord = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

/**
 * Finds the added tokens that may be written in a text. Special ones may not: a data set that contains "</s>" must not
 * end a text with it; where one is written it stays text, and no other token is looked for within it.
 */
export class AddedTokens {
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly #tokens: ReadonlyMap<number, AddedToken>;
  readonly #beforeNormalizing: TokenTrie<AddedToken>;
  readonly #afterNormalizing: TokenTrie<AddedToken>;

  /** @param normalize what the tokenizer does with a text before it splits it; null: nothing */
  constructor(tokens: readonly AddedToken[], normalize: ((text: string) => string) | null) {
    const isLate = (token: AddedToken) => normalize !== null && token.normalized;
    const early = tokens.filter((token) => !isLate(token)).map((token) => [token.content, token] as const);
    const late = tokens.filter(isLate).map((token) => [normalize!(token.content), token] as const);
    this.specialTokens = new Map(tokens.filter((token) => token.special).map((token) => [token.content, token.id]));
    this.#tokens = new Map(tokens.map((token) => [token.id, token]));
    const isWritten = (list: typeof early) => list.some(([, token]) => !token.special);
    this.#beforeNormalizing = new TokenTrie(isWritten(early) ? early : []);
    this.#afterNormalizing = new TokenTrie(isWritten(late) ? late : []);
  }

  get(id: number): AddedToken | undefined {
    return this.#tokens.get(id);
  }

  isSpecial(id: number): boolean {
    return this.#tokens.get(id)?.special === true;
  }

  /** Tokens in a text as it was given, and the texts between them. */
  sections(text: string): Generator<Section | null, void> {
    return sections(text, this.#beforeNormalizing);
  }

  /** The same for a text that was normalised. */
  normalizedSections(text: string): Generator<Section | null, void> {
    return sections(text, this.#afterNormalizing);
  }
}

function* sections(text: string, tokens: TokenTrie<AddedToken>): Generator<Section | null, void> {
  let from = 0;
  for (const match of tokens.matches(text)) {
    if (match === null) {
      yield null;
      continue;
    }
    const { value: token } = match;
    let { start, end } = match;
    if (token.special || (token.singleWord && !standsAlone(text, start, end))) continue;
    // What a token takes of the text around it.
    if (token.lstrip) start = lastOther(text.slice(from, start)) + from;
    if (token.rstrip) end += firstOther(text.slice(end));
    if (start > from) yield { text: text.slice(from, start), start: from };
    yield token;
    from = Math.max(from, end);
  }
  if (from < text.length) yield { text: text.slice(from), start: from };
}

function standsAlone(text: string, start: number, end: number): boolean {
  return (
    !endsWithWord.test(text.slice(Math.max(0, start - 2), start)) && !startsWithWord.test(text.slice(end, end + 2))
  );
}

/** The texts of an input, trimmed beside the ids of tokens that take the white space around them. */
export function* trimmedParts(parts: readonly (string | number)[], added: AddedTokens): Steps<(string | number)[]> {
  const trimmed = [...parts];
  for (const [index, part] of parts.entries()) {
    if (typeof part === "number") continue;
    const [before, after] = [parts[index - 1], parts[index + 1]];
    let text = part.toWellFormed();
    if (typeof before === "number" && added.get(before)?.rstrip) text = text.slice(firstOther(text));
    if (typeof after === "number" && added.get(after)?.lstrip) text = text.slice(0, lastOther(text));
    trimmed[index] = text;
    yield;
  }
  return trimmed.filter((part) => part !== "");
}
