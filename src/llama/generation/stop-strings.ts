/** Knuth, Morris and Pratt: how many leading characters of one stop string the text so far ends with. */
class Matcher {
  readonly characters: readonly string[];
  readonly #fallback: readonly number[];
  matched = 0;

  constructor(stop: string) {
    this.characters = Array.from(stop);
    const fallback = [0];
    for (let i = 1, k = 0; i < this.characters.length; i++) {
      while (k > 0 && this.characters[i] !== this.characters[k]) k = fallback[k - 1]!;
      if (this.characters[i] === this.characters[k]) k++;
      fallback.push(k);
    }
    this.#fallback = fallback;
  }

  /** True when the stop string is complete. */
  push(character: string): boolean {
    while (this.matched > 0 && character !== this.characters[this.matched]) {
      this.matched = this.#fallback[this.matched - 1]!;
    }
    if (character === this.characters[this.matched]) this.matched++;
    return this.matched === this.characters.length;
  }
}

/**
 * Lets a stream of text through until a stop string is complete, across the borders of its parts. Text that may be the
 * beginning of a stop string is held back. Empty stop strings are ignored.
 */
export class StopStrings {
  readonly #matchers: readonly Matcher[];
  #held: string[] = [];

  constructor(stops: readonly string[]) {
    this.#matchers = stops.filter((stop) => stop !== "").map((stop) => new Matcher(stop));
  }

  /** The text that is settled; with `stopped` it is the last: the stop string and all behind it are dropped. */
  push(text: string): { text: string; stopped: boolean } {
    if (this.#matchers.length === 0) return { text, stopped: false };
    for (const character of text) {
      this.#held.push(character);
      for (const matcher of this.#matchers) {
        if (matcher.push(character)) {
          const settled = this.#held.slice(0, this.#held.length - matcher.characters.length);
          this.#held = [];
          return { text: settled.join(""), stopped: true };
        }
      }
    }
    let kept = 0;
    for (const { matched } of this.#matchers) kept = Math.max(kept, matched);
    return { text: this.#held.splice(0, this.#held.length - kept).join(""), stopped: false };
  }

  /** What was held back, at the end of the text. */
  flush(): string {
    return this.#held.splice(0).join("");
  }
}
