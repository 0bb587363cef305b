import { spaceMark } from "./space-marks.ts";
import type { AddedToken } from "./tokenizer-json.ts";

/**
 * Pattern for any of `texts` such that the longest that fits at a place is found; null for none. `space` is the pattern for
 * a space mark in them.
 */
export function longestFirst(texts: readonly string[], space = spaceMark): RegExp | null {
  if (texts.length === 0) return null;
  const escaped = texts
    .toSorted((a, b) => b.length - a.length)
    .map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&").replaceAll(spaceMark, space));
  return new RegExp(escaped.join("|"), "gu");
}

/**
 * Splits text at the added tokens that may be written in it. Special ones may not: a data set that contains "</s>"
 * must not end a text with it.
 */
export class AddedTokens {
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly #pattern: RegExp | null;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #special: ReadonlySet<number>;

  constructor(tokens: readonly AddedToken[]) {
    const written = tokens.filter((token) => !token.special);
    this.#pattern = longestFirst(written.map((token) => token.content));
    this.#ids = new Map(written.map((token) => [token.content, token.id]));
    this.specialTokens = new Map(tokens.filter((token) => token.special).map((token) => [token.content, token.id]));
    this.#special = new Set(tokens.filter((token) => token.special).map((token) => token.id));
  }

  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  /** The text between the tokens (with where it begins) and the ids of the tokens, in order. */
  *split(text: string): Generator<{ text: string; start: number } | number> {
    let from = 0;
    for (const match of this.#pattern === null ? [] : text.matchAll(this.#pattern)) {
      if (match.index > from) yield { text: text.slice(from, match.index), start: from };
      yield this.#ids.get(match[0])!;
      from = match.index + match[0].length;
    }
    if (from < text.length) yield { text: text.slice(from), start: from };
  }
}
