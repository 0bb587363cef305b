const windowMs = 60_000;
const mostInWindow = 5;

/** The unexpected ends of a worker's processes. */
export class Deaths {
  count = 0;
  readonly #recent: number[] = [];

  /** Milliseconds until a new process is started; null: it has died too often. */
  add(): number | null {
    const now = Date.now();
    this.count += 1;
    this.#recent.push(now);
    while (this.#recent[0]! < now - windowMs) this.#recent.shift();
    return this.#recent.length >= mostInWindow ? null : 100 * 2 ** (this.#recent.length - 1);
  }
}
