import type { PairTable } from "./pair-table.ts";

/**
 * Byte pair encoding of one list of symbols: the pair with the lowest rank merges first, the leftmost among equals.
 * O(n log n) with a heap, where a candidate is dropped when its symbols have changed since (a whole megabyte may be one
 * list). Buffers are kept between calls, so one merger serves one caller at a time; every call is synchronous.
 */
export class Merger {
  readonly #table: PairTable;
  #next = new Int32Array(64);
  #previous = new Int32Array(64);
  /** Heap of candidates: rank * 2^31 + position of the left symbol, which orders as wanted, and the pair's entry. */
  #keys = new Float64Array(64);
  #pairs = new Int32Array(64);
  #size = 0;

  constructor(table: PairTable) {
    this.#table = table;
  }

  /** Merges symbols[0 .. count) in place and returns how many are left. */
  merge(symbols: Int32Array, count: number): number {
    this.#reserve(count);
    const next = this.#next;
    const previous = this.#previous;
    for (let i = 0; i < count; i++) {
      next[i] = i + 1;
      previous[i] = i - 1;
    }
    this.#size = 0;
    for (let i = 0; i + 1 < count; i++) this.#offer(symbols, i, i + 1);
    while (this.#size > 0) {
      const left = this.#keys[0]! % 2 ** 31;
      const entry = this.#pairs[0]!;
      this.#pop();
      const right = next[left]!;
      if (right >= count || !this.#table.joins(entry, symbols[left]!, symbols[right]!)) continue;
      symbols[left] = this.#table.result(entry);
      symbols[right] = merged;
      const after = next[right]!;
      next[left] = after;
      if (after < count) {
        previous[after] = left;
        this.#offer(symbols, left, after);
      }
      if (previous[left]! >= 0) this.#offer(symbols, previous[left]!, left);
    }
    let kept = 0;
    for (let i = 0; i < count; i = next[i]!) symbols[kept++] = symbols[i]!;
    return kept;
  }

  #offer(symbols: Int32Array, left: number, right: number): void {
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

  #reserve(count: number): void {
    if (count > this.#next.length) {
      this.#next = new Int32Array(count * 2);
      this.#previous = new Int32Array(count * 2);
    }
    // Each of the count - 1 first pairs, and two for each of at most count - 1 merges.
    if (count * 3 > this.#keys.length) {
      this.#keys = new Float64Array(count * 6);
      this.#pairs = new Int32Array(count * 6);
    }
  }
}

/** Stands where a symbol went into its left neighbour. No symbol has this number, so no candidate matches it. */
const merged = -0x8000_0000;
