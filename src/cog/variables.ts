/** Seconds that Node's timers can wait. */
const longestSeconds = Math.floor((2 ** 31 - 1) / 1000);

/** Reads environment variables. An empty one counts as unset; what cannot be read is kept in `problems`, by name. */
export class Variables {
  /** One sentence for each variable that cannot be read: its name, its value, what is allowed. */
  readonly problems: string[] = [];
  readonly #env: NodeJS.ProcessEnv;

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env;
  }

  text(name: string): string | null {
    return this.#env[name] || null;
  }

  /** A whole number within the limits, both included; null where the variable is unset or wrong. `limitedBy` is said with them. */
  whole(name: string, least: number, most: number = Number.MAX_SAFE_INTEGER, limitedBy?: string): number | null {
    const text = this.text(name);
    if (text === null) return null;
    if (isWhole(text, least, most)) return Number(text);
    const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`;
    return this.#wrong(name, `a whole number ${range}${limitedBy === undefined ? "" : ` (${limitedBy})`}`);
  }

  /** Milliseconds of a number of seconds, fractions included. */
  seconds(name: string, least = 0): number | null {
    const text = this.text(name);
    if (text === null) return null;
    const value = /^(?:\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= longestSeconds) return Math.round(value * 1000);
    return this.#wrong(name, `a number of seconds from ${least} to ${longestSeconds}`);
  }

  /** One of the words, in any letter case. */
  choice<Word extends string>(name: string, words: readonly Word[]): Word | null {
    const text = this.text(name)?.toLowerCase();
    if (text === undefined) return null;
    return words.find((word) => word === text) ?? this.#wrong(name, `one of ${words.join(", ")}`);
  }

  /** 1 is true, 0 and unset are false. */
  flag(name: string): boolean {
    return this.choice(name, ["1", "0"]) === "1";
  }

  /** Text that an HTTP header can carry. A `secret` is not shown when it is wrong. */
  headerText(name: string, { isSecret = false } = {}): string | null {
    const text = this.text(name);
    if (text === null || /^[\x21-\x7e]+(?: +[\x21-\x7e]+)*$/.test(text)) return text;
    return this.#wrong(name, "printable ASCII without blanks at its ends", isSecret);
  }

  #wrong(name: string, allowed: string, isSecret = false): null {
    const value = isSecret ? "" : `=${JSON.stringify(this.text(name))}`;
    this.problems.push(`${name}${value} must be ${allowed}`);
    return null;
  }
}

/** Digits alone, and a number that is represented exactly. */
export function isWhole(text: string, least: number, most: number): boolean {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) && value >= least && value <= most;
}
