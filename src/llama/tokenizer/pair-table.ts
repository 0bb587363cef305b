import type { Steps } from "../time-slices.ts";
import { characterLength } from "./surrogates.ts";

/**
 * Which two neighbouring symbols merge: (left, right) -> rank and resulting symbol. Open addressing over typed arrays,
 * because this is asked for every pair of symbols of every text. Symbols below zero merge with nothing.
 */
export class PairTable {
  #slots: Int32Array;
  #mask: number;
  #count = 0;
  /** Per entry: left, right, rank, result. */
  #entries: Int32Array;

  constructor(expectedPairs = 1024) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(16, expectedPairs * 2)));
    this.#slots = new Int32Array(size).fill(-1);
    this.#mask = size - 1;
    this.#entries = new Int32Array(Math.max(16, expectedPairs) * 4);
  }

  /** Adds a pair; of two entries for one pair the later one counts. */
  add(left: number, right: number, rank: number, result: number): void {
    const known = this.find(left, right);
    if (known >= 0) {
      this.#entries.set([left, right, rank, result], known * 4);
      return;
    }
    if (this.#count * 2 >= this.#slots.length) this.#grow();
    if ((this.#count + 1) * 4 > this.#entries.length) {
      const larger = new Int32Array(this.#entries.length * 2);
      larger.set(this.#entries);
      this.#entries = larger;
    }
    this.#entries.set([left, right, rank, result], this.#count * 4);
    this.#insert(this.#count++);
  }

  /** Number of the entry, or -1. */
  find(left: number, right: number): number {
    if (left < 0 || right < 0) return -1;
    let slot = hash(left, right) & this.#mask;
    for (;;) {
      const entry = this.#slots[slot]!;
      if (entry < 0) return -1;
      if (this.#entries[entry * 4] === left && this.#entries[entry * 4 + 1] === right) return entry;
      slot = (slot + 1) & this.#mask;
    }
  }

  joins(entry: number, left: number, right: number): boolean {
    return this.#entries[entry * 4] === left && this.#entries[entry * 4 + 1] === right;
  }

  /** Lower merges first. */
  rank(entry: number): number {
    return this.#entries[entry * 4 + 2]!;
  }

  result(entry: number): number {
    return this.#entries[entry * 4 + 3]!;
  }

  /** All pairs, the first to merge first. */
  *inOrder(): Generator<{ left: number; right: number; rank: number; result: number }> {
    const byRank = Array.from({ length: this.#count }, (_, entry) => entry).sort((a, b) => this.rank(a) - this.rank(b));
    for (const entry of byRank) {
      const [left, right, rank, result] = this.#entries.subarray(entry * 4, entry * 4 + 4) as unknown as number[];
      yield { left: left!, right: right!, rank: rank!, result: result! };
    }
  }

  #insert(entry: number): void {
    let slot = hash(this.#entries[entry * 4]!, this.#entries[entry * 4 + 1]!) & this.#mask;
    while (this.#slots[slot]! >= 0) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = entry;
  }

  #grow(): void {
    this.#slots = new Int32Array(this.#slots.length * 2).fill(-1);
    this.#mask = this.#slots.length - 1;
    for (let entry = 0; entry < this.#count; entry++) this.#insert(entry);
  }
}

function hash(left: number, right: number): number {
  const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}

/** A vocabulary whose merges are not listed: every two symbols merge whose texts joined are a piece. */
export interface PieceMerges {
  readonly table: PairTable;
  /** Symbol of a single character: a piece's id, an id past the vocabulary for one that only occurs inside pieces. */
  readonly characters: ReadonlyMap<string, number>;
  /** Characters of the symbols from `firstExtra` on. */
  readonly extras: readonly string[];
  readonly firstExtra: number;
}

/**
 * All pairs that SentencePiece's or tiktoken's BPE can merge, from the pieces alone.
 * `pieces`: text -> id; `rank`: of a piece, lower first; `firstExtra`: first number no piece has.
 */
export function* mergesOfPieces(
  pieces: ReadonlyMap<string, number>,
  rank: (id: number) => number,
  firstExtra: number,
): Steps<PieceMerges> {
  const table = new PairTable(pieces.size * 4);
  const characters = new Map<string, number>();
  const extras: string[] = [];
  const symbol = (text: string): number => {
    const known = pieces.get(text) ?? characters.get(text);
    if (known !== undefined) return known;
    if (text.length !== characterLength(text, 0)) return -1;
    extras.push(text);
    characters.set(text, firstExtra + extras.length - 1);
    return firstExtra + extras.length - 1;
  };
  for (const [text, id] of pieces) {
    if (id % 64 === 0) yield;
    let split = characterLength(text, 0);
    if (split === text.length) characters.set(text, id);
    for (; split < text.length; split += characterLength(text, split)) {
      const left = symbol(text.slice(0, split));
      const right = symbol(text.slice(split));
      if (left >= 0 && right >= 0) table.add(left, right, rank(id), id);
    }
  }
  return { table, characters, extras, firstExtra };
}
