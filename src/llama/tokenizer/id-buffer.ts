/** Ids of a text as they are found. */
export class IdBuffer {
  #ids: Int32Array;
  #length = 0;

  /**
   * For the ids of a text of so many UTF-16 units: at most one for each of three bytes, and one for a space mark that is
   * put in front. Memory that is not written to costs nothing, copies of a growing list do.
   */
  constructor(units: number) {
    this.#ids = new Int32Array(4 * units + 4);
  }

  get length(): number {
    return this.#length;
  }

  push(id: number): void {
    if (this.#length === this.#ids.length) this.#grow(1);
    this.#ids[this.#length++] = id;
  }

  append(ids: Int32Array): void {
    if (this.#length + ids.length > this.#ids.length) this.#grow(ids.length);
    this.#ids.set(ids, this.#length);
    this.#length += ids.length;
  }

  /** A normaliser can make a text longer. */
  #grow(more: number): void {
    const larger = new Int32Array(2 * this.#ids.length + more);
    larger.set(this.#ids);
    this.#ids = larger;
  }

  /** A copy of the ids from `start` on. */
  since(start: number): Int32Array {
    return this.#ids.slice(start, this.#length);
  }

  /** A copy where it is short; of millions of ids a view. */
  finish(): Int32Array {
    return this.#length < 65_536 ? this.since(0) : this.#ids.subarray(0, this.#length);
  }
}
