import { CodedError } from "../../errors/index.ts";

/** What predict.ts publishes for its input `stop`: the automaton's size, and how much text is held back. */
export const stopLimits = { texts: 64, characters: 1000 };

/** More than any code point: a pair of state and character is one number. */
const characterSpan = 0x110000;

/** The longest beginning of a stop string that the text so far ends with, as a state of the automaton. */
interface State {
  /** Characters of that beginning. */
  readonly depth: number;
  /** Place in the list and characters of the first stop string that is complete here. */
  ending: { readonly place: number; readonly length: number } | null;
  /** The next shorter beginning that the text ends with. */
  fallback: number;
}

/** Aho and Corasick, "Efficient string matching" (1975): a character costs the same however many texts are looked for. */
class Automaton {
  readonly states: State[] = [{ depth: 0, ending: null, fallback: 0 }];
  readonly #edges = new Map<number, number>();

  constructor(stops: readonly string[]) {
    const arrivals: { from: number; code: number; to: number }[] = [];
    for (const [place, stop] of stops.entries()) {
      let at = 0;
      for (const character of stop) {
        const code = character.codePointAt(0)!;
        let to = this.#edges.get(at * characterSpan + code);
        if (to === undefined) {
          to = this.states.push({ depth: this.states[at]!.depth + 1, ending: null, fallback: 0 }) - 1;
          this.#edges.set(at * characterSpan + code, to);
          arrivals.push({ from: at, code, to });
        }
        at = to;
      }
      const end = this.states[at]!;
      end.ending ??= { place, length: end.depth };
    }
    arrivals.sort((a, b) => this.states[a.to]!.depth - this.states[b.to]!.depth);
    for (const { from, code, to } of arrivals) {
      const state = this.states[to]!;
      state.fallback = from === 0 ? 0 : this.next(this.states[from]!.fallback, code);
      const shorter = this.states[state.fallback]!.ending;
      if (shorter !== null && (state.ending === null || shorter.place < state.ending.place)) state.ending = shorter;
    }
  }

  next(from: number, code: number): number {
    for (let at = from; ; at = this.states[at]!.fallback) {
      const to = this.#edges.get(at * characterSpan + code);
      if (to !== undefined) return to;
      if (at === 0) return 0;
    }
  }
}

/**
 * Lets a stream of text through until a stop string is complete, across the borders of its parts. Text that may be the
 * beginning of a stop string is held back. Empty stop strings are ignored.
 */
export class StopStrings {
  readonly #automaton: Automaton | null;
  #at = 0;
  #held: string[] = [];

  /** @throws ENGINE_ARGUMENT for more or longer stop strings than stopLimits allows */
  constructor(stops: readonly string[]) {
    if (stops.length > stopLimits.texts) throw tooMuch(`stop holds ${stops.length} texts`, stopLimits.texts);
    for (const stop of stops) {
      // A character has at most two units: of most texts none has to be counted.
      const length = stop.length <= stopLimits.characters ? 0 : Array.from(stop).length;
      if (length > stopLimits.characters) {
        throw tooMuch(`a text of stop has ${length} characters`, stopLimits.characters);
      }
    }
    const texts = stops.filter((stop) => stop !== "");
    this.#automaton = texts.length === 0 ? null : new Automaton(texts);
  }

  /** The text that is settled; with `stopped` it is the last: the stop string and all behind it are dropped. */
  push(text: string): { text: string; stopped: boolean } {
    const automaton = this.#automaton;
    if (automaton === null) return { text, stopped: false };
    for (const character of text) {
      this.#held.push(character);
      this.#at = automaton.next(this.#at, character.codePointAt(0)!);
      const { ending } = automaton.states[this.#at]!;
      if (ending !== null) {
        const settled = this.#held.slice(0, this.#held.length - ending.length);
        this.#held = [];
        return { text: settled.join(""), stopped: true };
      }
    }
    const kept = automaton.states[this.#at]!.depth;
    return { text: this.#held.splice(0, this.#held.length - kept).join(""), stopped: false };
  }

  /** What was held back, at the end of the text. */
  flush(): string {
    return this.#held.splice(0).join("");
  }
}

function tooMuch(found: string, most: number): CodedError {
  return new CodedError("ENGINE_ARGUMENT", `${found}; at most ${most} are allowed`);
}
