import {
  type CodePoints,
  complement,
  everything,
  intersection,
  property,
  union,
  whiteSpace,
  withoutCase,
  wordCharacters,
} from "./code-points.ts";

/** A regular expression whose assertions look at one neighbouring character. */
export type Pattern =
  | { readonly kind: "set"; readonly set: CodePoints }
  | { readonly kind: "sequence"; readonly items: readonly Pattern[] }
  | { readonly kind: "choice"; readonly options: readonly Pattern[] }
  | {
      readonly kind: "repeat";
      readonly item: Pattern;
      readonly min: number;
      readonly max: number;
      readonly lazy: boolean;
    }
  /** The next (or previous) character is of the set; `edge`: or there is none. */
  | { readonly kind: "assert"; readonly behind: boolean; readonly set: CodePoints; readonly edge: boolean };

/** The pattern is not understood; the message names the construct. */
export class PatternError extends Error {}

const deepest = 40;
const mostRepeats = 1000;
const newline: CodePoints = [[0x0a, 0x0a]];
const hexDigits: CodePoints = [
  [0x30, 0x39],
  [0x41, 0x46],
  [0x61, 0x66],
];

/**
 * Parses the part of Oniguruma's Ruby syntax that is regular: what pre-tokenisers are published with. Backreferences,
 * calls, and assertions about more than one character are refused. https://github.com/kkos/oniguruma/blob/master/doc/RE
 * @throws PatternError
 */
export function parsePattern(source: string): Pattern {
  return new Parser(source).whole();
}

class Parser {
  readonly #source: readonly string[];
  #at = 0;
  #depth = 0;
  #ignoresCase = false;

  constructor(source: string) {
    this.#source = [...source];
  }

  whole(): Pattern {
    const pattern = this.#choice();
    if (this.#at < this.#source.length) throw new PatternError(`")" without "("`);
    return pattern;
  }

  #peek(text: string): boolean {
    for (let i = 0; i < text.length; i++) if (this.#source[this.#at + i] !== text[i]) return false;
    return true;
  }

  #take(text: string): boolean {
    if (!this.#peek(text)) return false;
    this.#at += text.length;
    return true;
  }

  #next(): string {
    const character = this.#source[this.#at++];
    if (character === undefined) throw new PatternError("it ends too early");
    return character;
  }

  #choice(): Pattern {
    if (++this.#depth > deepest) throw new PatternError(`more than ${deepest} groups in each other`);
    const options = [this.#sequence()];
    while (this.#take("|")) options.push(this.#sequence());
    this.#depth--;
    return options.length === 1 ? options[0]! : { kind: "choice", options };
  }

  #sequence(): Pattern {
    const items: Pattern[] = [];
    while (this.#at < this.#source.length && !this.#peek("|") && !this.#peek(")")) items.push(this.#quantified());
    return items.length === 1 ? items[0]! : { kind: "sequence", items };
  }

  #quantified(): Pattern {
    let item = this.#atom();
    for (;;) {
      const bounds = this.#bounds();
      if (bounds === null) return item;
      if (item.kind === "assert") throw new PatternError("a repeated assertion");
      const { min, max, isInterval } = bounds;
      // After an interval "+" repeats it: so it is in Ruby's syntax.
      if (!isInterval && this.#take("+")) item = possessive(item, min, max);
      else {
        const lazy = this.#take("?");
        if (lazy && isInterval && min === max) throw new PatternError("{n}?");
        item = { kind: "repeat", item, min, max, lazy };
      }
    }
  }

  #bounds(): { min: number; max: number; isInterval: boolean } | null {
    if (this.#take("*")) return { min: 0, max: Number.POSITIVE_INFINITY, isInterval: false };
    if (this.#take("+")) return { min: 1, max: Number.POSITIVE_INFINITY, isInterval: false };
    if (this.#take("?")) return { min: 0, max: 1, isInterval: false };
    const text = this.#peek("{") ? this.#source.slice(this.#at, this.#at + 12).join("") : "";
    const [whole, from = "", comma, to = ""] = /^\{(\d{0,4})(,?)(\d{0,4})\}/.exec(text) ?? [];
    if (whole === undefined || whole === "{}" || whole === "{,}") return null;
    this.#at += whole.length;
    const min = Number(from);
    const max = comma === "" ? min : to === "" ? Number.POSITIVE_INFINITY : Number(to);
    if (min > max || min > mostRepeats || (max > mostRepeats && to !== ""))
      throw new PatternError(`the interval ${whole}`);
    return { min, max, isInterval: true };
  }

  #atom(): Pattern {
    if (this.#take("(")) return this.#group();
    if (this.#take("[")) return this.#set(this.#bracket());
    if (this.#take("^")) return { kind: "assert", behind: true, set: newline, edge: true };
    if (this.#take("$")) return { kind: "assert", behind: false, set: newline, edge: true };
    if (this.#take(".")) return { kind: "set", set: complement(newline) };
    const character = this.#next();
    if ("*+?".includes(character)) throw new PatternError(`"${character}" with nothing before it`);
    return character === "\\" ? this.#escaped() : this.#set(single(character));
  }

  #set(set: CodePoints): Pattern {
    return { kind: "set", set: this.#ignoresCase ? withoutCase(set) : set };
  }

  #group(): Pattern {
    const ignoredCase = this.#ignoresCase;
    if (this.#take("?i)")) {
      // For the rest of the group that it stands in.
      this.#ignoresCase = true;
      const rest = this.#choice();
      this.#ignoresCase = ignoredCase;
      return rest;
    }
    const looks = ["?=", "?!", "?<=", "?<!"].find((start) => this.#take(start));
    const isAtomic = looks === undefined && this.#take("?>");
    if (this.#take("?i:")) this.#ignoresCase = true;
    else if (this.#take("?-i:")) this.#ignoresCase = false;
    else if (looks === undefined && !isAtomic && !this.#take("?:") && this.#peek("?")) {
      throw new PatternError(`(${this.#source.slice(this.#at, this.#at + 3).join("")}`);
    }
    const inner = this.#choice();
    if (!this.#take(")")) throw new PatternError(`"(" without ")"`);
    this.#ignoresCase = ignoredCase;
    if (isAtomic && inner.kind !== "set") throw new PatternError("(?>...) of more than one character");
    return looks === undefined ? inner : assertion(inner, looks);
  }

  #escaped(): Pattern {
    if (this.#take("A")) return { kind: "assert", behind: true, set: [], edge: true };
    if (this.#take("z")) return { kind: "assert", behind: false, set: [], edge: true };
    for (const name of ["b", "B"]) if (this.#take(name)) return wordBorder(name === "b");
    return this.#set(this.#escapedSet());
  }

  /** What follows a backslash, inside or outside brackets. */
  #escapedSet(): CodePoints {
    const character = this.#next();
    if (character === "p" || character === "P") return this.#property(character === "P");
    const known = classes[character];
    if (known !== undefined) return known();
    const lower = classes[character.toLowerCase()];
    if (lower !== undefined) return complement(lower());
    const control = controls[character];
    if (control !== undefined) return single(control);
    if (character === "x" || character === "u") return this.#hexadecimal(character);
    if (/[A-Za-z0-9]/.test(character)) throw new PatternError(`\\${character}`);
    return single(character);
  }

  #property(isNegative: boolean): CodePoints {
    const [whole, caret, name = ""] =
      /^\{(\^?)([\w ]{1,40})\}/.exec(this.#source.slice(this.#at, this.#at + 44).join("")) ?? [];
    if (whole === undefined) throw new PatternError("\\p without a name");
    this.#at += whole.length;
    const set = oniguruma[name.toLowerCase()]?.() ?? property(name) ?? property(`Script=${name}`);
    if (set === null) throw new PatternError(`\\p${whole}`);
    return isNegative !== (caret === "^") ? complement(set) : set;
  }

  #hexadecimal(kind: string): CodePoints {
    const ahead = this.#source.slice(this.#at, this.#at + 10).join("");
    const form = kind === "u" ? /^[0-9A-Fa-f]{4}/ : /^(?:\{[0-9A-Fa-f]{1,6}\}|[0-9A-Fa-f]{1,2})/;
    const digits = form.exec(ahead)?.[0];
    const point = Number.parseInt(digits?.replace("{", "") ?? "", 16);
    if (digits === undefined || point > 0x10ffff) throw new PatternError(`\\${kind}`);
    this.#at += digits.length;
    return [[point, point]];
  }

  /** Inside "[...]", whose bracket is taken. */
  #bracket(): CodePoints {
    if (++this.#depth > deepest) throw new PatternError(`more than ${deepest} brackets in each other`);
    const isNegative = this.#take("^");
    let set: CodePoints = [];
    let narrowed: CodePoints = everything;
    for (let isFirst = true; isFirst || !this.#peek("]"); isFirst = false) {
      if (this.#take("&&")) {
        narrowed = intersection(narrowed, set);
        set = [];
      } else set = union(set, this.#member());
    }
    this.#at++;
    this.#depth--;
    const whole = intersection(narrowed, set);
    return isNegative ? complement(this.#ignoresCase ? withoutCase(whole) : whole) : whole;
  }

  #member(): CodePoints {
    if (this.#peek("[:")) throw new PatternError("[:name:]");
    if (this.#take("[")) return this.#bracket();
    const from = this.#bracketCharacter();
    const isRange = this.#peek("-") && this.#source[this.#at + 1] !== "]" && this.#source[this.#at + 1] !== undefined;
    if (!isRange || from.length !== 1 || from[0]![0] !== from[0]![1]) return from;
    this.#at++;
    const to = this.#bracketCharacter();
    const [first, second] = [from[0]![0], to[0]?.[0] ?? -1];
    if (to.length !== 1 || to[0]![1] !== second || second < first)
      throw new PatternError("a range that ends before it begins");
    return [[first, second]];
  }

  #bracketCharacter(): CodePoints {
    const character = this.#next();
    if (character !== "\\") return single(character);
    return this.#take("b") ? [[8, 8]] : this.#escapedSet();
  }
}

const classes: Readonly<Record<string, () => CodePoints>> = {
  __proto__: null as never,
  s: () => whiteSpace,
  d: () => property("Nd")!,
  w: wordCharacters,
  h: () => hexDigits,
};

const controls: Readonly<Record<string, string>> = {
  __proto__: null as never,
  n: "\n",
  r: "\r",
  t: "\t",
  f: "\f",
  v: "\v",
  a: "\u0007",
  e: "\u001b",
};

/** POSIX names of Oniguruma's that Unicode has otherwise. */
const oniguruma: Readonly<Record<string, () => CodePoints>> = {
  __proto__: null as never,
  space: () => whiteSpace,
  alpha: () => property("Alphabetic")!,
  digit: () => property("Nd")!,
  word: wordCharacters,
  punct: () => property("P")!,
  upper: () => property("Uppercase")!,
  lower: () => property("Lowercase")!,
};

function single(character: string): CodePoints {
  const point = character.codePointAt(0)!;
  return [[point, point]];
}

/** A loop that gives nothing back, which of one set is a loop with none of the set behind it. */
function possessive(item: Pattern, min: number, max: number): Pattern {
  if (item.kind !== "set") throw new PatternError("a possessive group");
  const behind: Pattern = { kind: "assert", behind: false, set: complement(item.set), edge: true };
  if (max === 1) return { kind: "choice", options: [item, behind] };
  return { kind: "sequence", items: [{ kind: "repeat", item, min, max, lazy: false }, behind] };
}

function assertion(inner: Pattern, looks: string): Pattern {
  const behind = looks.startsWith("?<");
  const { set, edge } = neighbour(inner, behind);
  const isNegative = looks.endsWith("!");
  return { kind: "assert", behind, set: isNegative ? complement(set) : set, edge: isNegative ? !edge : edge };
}

/** The one character that an assertion is about. */
function neighbour(inner: Pattern, behind: boolean): { set: CodePoints; edge: boolean } {
  if (inner.kind === "set") return { set: inner.set, edge: false };
  if (inner.kind === "assert" && inner.behind === behind) return inner;
  if (inner.kind !== "choice") throw new PatternError("an assertion about more than one character");
  const options = inner.options.map((option) => neighbour(option, behind));
  return { set: union(...options.map(({ set }) => set)), edge: options.some(({ edge }) => edge) };
}

function wordBorder(isBorder: boolean): Pattern {
  const word = wordCharacters();
  const other = complement(word);
  const side = (behind: boolean, isWord: boolean): Pattern => ({
    kind: "assert",
    behind,
    set: isWord ? word : other,
    edge: !isWord,
  });
  const options = [true, false].map(
    (before): Pattern => ({ kind: "sequence", items: [side(true, before), side(false, before !== isBorder)] }),
  );
  return { kind: "choice", options };
}
