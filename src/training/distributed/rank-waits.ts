/** Whether an abort ends the waits for other ranks: always, but while something has to be finished together. */
export class RankWaits {
  readonly #abort = new AbortController();
  readonly #given: AbortSignal | undefined;
  #isHeld = false;

  constructor(signal: AbortSignal | undefined) {
    this.#given = signal;
    this.#pass();
    signal?.addEventListener("abort", () => this.#pass(), { once: true });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** The result of `work`, whose waits an abort does not end. */
  async throughout<T>(work: Promise<T>): Promise<T> {
    this.#isHeld = true;
    try {
      return await work;
    } finally {
      this.#isHeld = false;
      this.#pass();
    }
  }

  #pass(): void {
    if (this.#given?.aborted && !this.#isHeld) this.#abort.abort(this.#given.reason);
  }
}
