/** UTF-16 units that are looked at between two pauses. */
const unitsPerStep = 65_536;

interface Node<T> {
  readonly next: Map<number, Node<T>>;
  value: T | undefined;
}

/** Finds the longest of many texts at each place, in time that does not grow with their number. */
export class TokenTrie<T> {
  readonly #root: Node<T> = { next: new Map(), value: undefined };
  readonly #same: ReadonlyMap<number, number>;
  /** By UTF-16 unit, 1 where a text can begin with it. */
  readonly #first = new Uint8Array(2 ** 16);
  #size = 0;

  /** @param same UTF-16 units that are read as others, in texts and tokens */
  constructor(tokens: Iterable<readonly [string, T]>, same: ReadonlyMap<number, number> = new Map()) {
    this.#same = same;
    for (const [text, value] of tokens) this.#add(text, value);
    for (const unit of this.#root.next.keys()) this.#first[unit] = 1;
    for (const [unit, other] of same) this.#first[unit] = this.#first[other]!;
  }

  get size(): number {
    return this.#size;
  }

  /** Leftmost matches that do not overlap, in order; null is a pause. */
  *matches(text: string): Generator<{ start: number; end: number; value: T } | null, void> {
    if (this.#size === 0) return;
    for (let start = 0, pause = unitsPerStep; ; ) {
      const last = Math.min(pause, text.length);
      while (start < last && this.#first[text.charCodeAt(start)] === 0) start++;
      if (start >= text.length) return;
      if (start >= pause) {
        yield null;
        pause = start + unitsPerStep;
        continue;
      }
      const match = this.#longestAt(text, start);
      if (match !== null) yield match;
      start = match?.end ?? start + 1;
    }
  }

  #longestAt(text: string, start: number): { start: number; end: number; value: T } | null {
    let node = this.#root.next.get(this.#unit(text, start));
    let longest: { start: number; end: number; value: T } | null = null;
    for (let end = start + 1; node !== undefined; end++) {
      if (node.value !== undefined) longest = { start, end, value: node.value };
      if (end === text.length) break;
      node = node.next.get(this.#unit(text, end));
    }
    return longest;
  }

  #add(text: string, value: T): void {
    if (text === "") return;
    let node = this.#root;
    for (let i = 0; i < text.length; i++) {
      const unit = this.#unit(text, i);
      let next = node.next.get(unit);
      if (next === undefined) {
        next = { next: new Map(), value: undefined };
        node.next.set(unit, next);
      }
      node = next;
    }
    // Of two with one spelling the first is found.
    if (node.value === undefined) this.#size++;
    node.value ??= value;
  }

  #unit(text: string, index: number): number {
    const unit = text.charCodeAt(index);
    return this.#same.get(unit) ?? unit;
  }
}
