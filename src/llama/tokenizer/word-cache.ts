import type { IdBuffer } from "./id-buffer.ts";

/** Longer words are merged each time. */
export const cachedWordLength = 32;
const cachedWords = 65_536;

/** Words repeat: each is merged once and remembered while it is short and there is room. */
export class WordCache {
  readonly #ids = new Map<string, Int32Array>();

  /** Most words are known: they need no steps. */
  appendKnown(word: string, ids: IdBuffer): boolean {
    const known = this.#ids.get(word);
    if (known === undefined) return false;
    ids.append(known);
    return true;
  }

  /** Remembers the ids from `start` on as those of the word. */
  keep(word: string, ids: IdBuffer, start: number): void {
    if (word.length > cachedWordLength) return;
    if (this.#ids.size >= cachedWords) this.#ids.clear();
    this.#ids.set(word, ids.since(start));
  }
}
