import type { Steps } from "../time-slices.ts";

/** Ids are kept in parts of so many: one array for a long text would be larger than it needs, and have memory collected. */
const partLength = 65_536;

/** Below it a loop is faster than a call of set(). */
const shortList = 16;

/** Ids of a text as they are found. */
export class IdBuffer {
  readonly #full: Int32Array[] = [];
  #part: Int32Array;
  #used = 0;

  /** For the ids of a text of about so many UTF-16 units: it grows where each of them takes several. */
  constructor(units: number) {
    this.#part = new Int32Array(Math.min(partLength, units + 16));
  }

  get length(): number {
    return this.#full.length * partLength + this.#used;
  }

  push(id: number): void {
    if (this.#used === this.#part.length) this.#makeRoom();
    this.#part[this.#used++] = id;
  }

  append(ids: Int32Array): void {
    const { length } = ids;
    if (length > shortList && this.#used + length <= this.#part.length) {
      this.#part.set(ids, this.#used);
      this.#used += length;
      return;
    }
    for (let i = 0; i < length; i++) this.push(ids[i]!);
  }

  /** A copy of the ids from `start` on; at most those of a part. */
  since(start: number): Int32Array {
    const from = start - this.#full.length * partLength;
    if (from >= 0) return this.#part.slice(from, this.#used);
    const before = this.#full.at(-1)!.subarray(partLength + from);
    const ids = new Int32Array(before.length + this.#used);
    ids.set(before);
    ids.set(this.#part.subarray(0, this.#used), before.length);
    return ids;
  }

  /** A copy of all. */
  *finishing(): Steps<Int32Array> {
    if (this.#full.length === 0) return this.#part.slice(0, this.#used);
    const ids = new Int32Array(this.length);
    for (const [index, part] of this.#full.entries()) {
      ids.set(part, index * partLength);
      yield;
    }
    ids.set(this.#part.subarray(0, this.#used), this.#full.length * partLength);
    return ids;
  }

  #makeRoom(): void {
    if (this.#part.length < partLength) {
      const larger = new Int32Array(Math.min(partLength, 2 * this.#part.length));
      larger.set(this.#part);
      this.#part = larger;
      return;
    }
    this.#full.push(this.#part);
    this.#part = new Int32Array(partLength);
    this.#used = 0;
  }
}
