import type { Steps } from "../time-slices.ts";
import type { PairTable } from "./pair-table.ts";

/** Lists of at most this many symbols are merged without a pause, in buffers that are kept. */
export const shortWord = 4096;

/**
 * Byte pair encoding of one list of symbols: the pair with the lowest rank merges first, the leftmost among equals.
 * O(n log n) with a heap, where a candidate is dropped when its symbols have changed since: a whole text may be one list.
 */
export class Merger {
  readonly #table: PairTable;
  readonly #kept: Candidates;

  constructor(table: PairTable) {
    this.#table = table;
    this.#kept = new Candidates(table, shortWord);
  }

  /** Merges symbols[0 .. count) in place and returns how many are left. It pauses only if the list is `isLong`. */
  *merging(symbols: Int32Array, count: number, isLong = count > shortWord): Steps<number> {
    // A step ends only inside a long list, whose buffers are its own: another one may be merged meanwhile.
    const candidates = isLong ? new Candidates(this.#table, count) : this.#kept;
    const { next, previous } = candidates;
    candidates.clear();
    for (let i = 0; i < count; i++) {
      if (isLong && i % shortWord === 0) yield;
      next[i] = i + 1;
      previous[i] = i - 1;
      if (i + 1 < count) candidates.offer(symbols, i, i + 1);
    }
    for (let merges = 1; candidates.size > 0; merges++) {
      if (isLong && merges % shortWord === 0) yield;
      candidates.mergeBest(symbols, count);
    }
    let kept = 0;
    for (let i = 0; i < count; i = next[i]!) {
      if (isLong && kept % shortWord === 0) yield;
      symbols[kept++] = symbols[i]!;
    }
    return kept;
  }
}

/** The pairs that can merge, in a heap, and the list that their symbols are in. */
class Candidates {
  readonly next: Int32Array;
  readonly previous: Int32Array;
  readonly #table: PairTable;
  /** rank * 2^31 + position of the left symbol, which orders as wanted, and the pair's entry. */
  readonly #keys: Float64Array;
  readonly #pairs: Int32Array;
  #size = 0;

  constructor(table: PairTable, count: number) {
    this.#table = table;
    this.next = new Int32Array(count);
    this.previous = new Int32Array(count);
    // Each of the count - 1 first pairs, and two for each of at most count - 1 merges. Pages not written to cost nothing.
    this.#keys = new Float64Array(count * 3);
    this.#pairs = new Int32Array(count * 3);
  }

  get size(): number {
    return this.#size;
  }

  clear(): void {
    this.#size = 0;
  }

  mergeBest(symbols: Int32Array, count: number): void {
    const { next, previous } = this;
    const left = this.#keys[0]! % 2 ** 31;
    const entry = this.#pairs[0]!;
    this.#pop();
    const right = next[left]!;
    if (right >= count || !this.#table.joins(entry, symbols[left]!, symbols[right]!)) return;
    symbols[left] = this.#table.result(entry);
    symbols[right] = merged;
    const after = next[right]!;
    next[left] = after;
    if (after < count) {
      previous[after] = left;
      this.offer(symbols, left, after);
    }
    if (previous[left]! >= 0) this.offer(symbols, previous[left]!, left);
  }

  offer(symbols: Int32Array, left: number, right: number): void {
    const entry = this.#table.find(symbols[left]!, symbols[right]!);
    if (entry < 0) return;
    const key = this.#table.rank(entry) * 2 ** 31 + left;
    let hole = this.#size++;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (this.#keys[parent]! <= key) break;
      this.#keys[hole] = this.#keys[parent]!;
      this.#pairs[hole] = this.#pairs[parent]!;
      hole = parent;
    }
    this.#keys[hole] = key;
    this.#pairs[hole] = entry;
  }

  #pop(): void {
    const size = --this.#size;
    const key = this.#keys[size]!;
    const pair = this.#pairs[size]!;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#keys[child + 1]! < this.#keys[child]!) child++;
      if (this.#keys[child]! >= key) break;
      this.#keys[hole] = this.#keys[child]!;
      this.#pairs[hole] = this.#pairs[child]!;
      hole = child;
    }
    this.#keys[hole] = key;
    this.#pairs[hole] = pair;
  }
}

/** Stands where a symbol went into its left neighbour. No symbol has this number, so no candidate matches it. */
const merged = -0x8000_0000;
