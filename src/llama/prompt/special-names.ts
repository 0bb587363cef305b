import { CodedError } from "../../errors/index.ts";
import { sliced } from "../time-slices.ts";
import { TokenTrie } from "../tokenizer/token-trie.ts";
import type { TokenizerInput } from "../tokenizer/tokenizer-input.ts";

/** Text, or the id of a special token. */
export type Part = string | number;

/** Characters that stand where a name is broken; they occur in none of the texts they were chosen for. */
export interface Sentinels {
  readonly breaking: string;
  /** In place of names of one character, which cannot be broken. */
  readonly standIns: ReadonlyMap<string, string>;
}

/** The names of a tokenizer's special tokens, found in texts and kept out of them. */
export class SpecialNames {
  readonly #trie: TokenTrie<number>;
  readonly #names: readonly string[];
  readonly #pattern: RegExp | null;
  readonly #longest: number;
  /** Names of one character. */
  readonly #short: readonly string[];
  readonly #privateUse: readonly string[];
  readonly #beginnings: ReadonlySet<string>;
  readonly #endings: ReadonlySet<string>;

  constructor(ids: ReadonlyMap<string, number>) {
    this.#trie = new TokenTrie(ids);
    this.#names = [...ids.keys()].filter((name) => name !== "").sort((a, b) => b.length - a.length);
    const escaped = this.#names.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
    this.#pattern = escaped.length === 0 ? null : new RegExp(escaped.join("|"), "gu");
    this.#longest = this.#names[0]?.length ?? 0;
    this.#short = this.#names.filter((name) => Array.from(name).length === 1);
    this.#privateUse = this.#names.flatMap(privateUse);
    const inside = (part: (name: string, length: number) => string) =>
      new Set(this.#names.flatMap((name) => Array.from({ length: name.length - 1 }, (_, i) => part(name, i + 1))));
    this.#beginnings = inside((name, length) => name.slice(0, length));
    this.#endings = inside((name, length) => name.slice(-length));
  }

  /** `text` with its names as ids, the longest name at a place first. */
  split(text: string): Part[] {
    const split = this.#splits(text);
    for (;;) {
      const { done, value } = split.next();
      if (done) return value;
    }
  }

  /** split(), between turns of the event loop where the text is long. Throws the signal's reason. */
  async splitting(text: string, signal?: AbortSignal): Promise<Part[]> {
    const pause = sliced(signal);
    const split = this.#splits(text);
    for (;;) {
      const { done, value } = split.next();
      if (done) return value;
      await pause();
    }
  }

  /** Stops where a pause may be made; returns the parts. */
  *#splits(text: string): Generator<void, Part[]> {
    const parts: Part[] = [];
    let from = 0;
    for (const match of this.#trie.matches(text)) {
      if (match === null) {
        yield;
        continue;
      }
      if (match.start > from) parts.push(text.slice(from, match.start));
      parts.push(match.value);
      from = match.end;
    }
    if (from < text.length) parts.push(text.slice(from));
    return parts;
  }

  /** Characters that occur neither in `texts` nor in a name. Throws PROMPT_MESSAGES where there are none left. */
  sentinels(texts: readonly string[]): Sentinels {
    const used = new Set(this.#privateUse);
    for (const text of texts) for (const character of privateUse(text)) used.add(character);
    let next = 0xe000;
    const take = (): string => {
      while (next <= 0xf8ff && used.has(String.fromCharCode(next))) next++;
      if (next <= 0xf8ff) return String.fromCharCode(next++);
      throw new CodedError("PROMPT_MESSAGES", "the texts hold every character of Unicode's private use area");
    };
    return { breaking: take(), standIns: new Map(this.#short.map((name) => [name, take()])) };
  }

  /**
   * A user's text with every name in it broken, and what may be half of one at its ends kept apart from its neighbours.
   * White space at the ends stays outside, so that a template's `trim` does what it does.
   */
  guarded(text: string, { breaking, standIns }: Sentinels): string {
    if (this.#pattern === null) return text;
    let broken = text;
    // Names may overlap: breaking one can leave another.
    for (let found = true; found; ) {
      found = false;
      broken = broken.replace(this.#pattern, (name) => {
        found = true;
        const [first = ""] = name;
        return standIns.get(name) ?? first + breaking + name.slice(first.length);
      });
    }
    const core = broken.trim();
    if (core === "") return broken;
    const start = broken.indexOf(core);
    const isInside = core.length < this.#longest && this.#names.some((name) => name.includes(core));
    const before = isInside || this.#isHalf(this.#endings, (length) => core.slice(0, length)) ? breaking : "";
    const after = isInside || this.#isHalf(this.#beginnings, (length) => core.slice(-length)) ? breaking : "";
    return broken.slice(0, start) + before + core + after + broken.slice(start + core.length);
  }

  #isHalf(halves: ReadonlySet<string>, part: (length: number) => string): boolean {
    for (let length = 1; length < this.#longest; length++) if (halves.has(part(length))) return true;
    return false;
  }

  /** The parts of a text that was made of guarded ones, as the user wrote them. */
  unguarded(text: string, { breaking, standIns }: Sentinels): Part[] {
    return this.split(text).map((part) => {
      if (typeof part === "number") return part;
      let plain = part.replaceAll(breaking, "");
      for (const [name, standIn] of standIns) plain = plain.replaceAll(standIn, name);
      return plain;
    });
  }
}

function privateUse(text: string): readonly string[] {
  return text.match(/[\ue000-\uf8ff]/g) ?? [];
}

/** Parts without empty texts, neighbouring texts joined: a tokenizer takes each text as a whole. */
export function inputOf(parts: Iterable<Part>): TokenizerInput {
  const joined: Part[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if (part === "") continue;
    if (typeof part === "string" && typeof last === "string") joined[joined.length - 1] = last + part;
    else joined.push(part);
  }
  if (joined.length === 0) return "";
  return joined.length === 1 && typeof joined[0] === "string" ? joined[0] : joined;
}
