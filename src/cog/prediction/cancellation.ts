/** A cancel of one run: remembered, and told to what can be aborted. */
export class Cancellation {
  isRequested = false;
  /** Made when it is asked for: most runs have nothing to abort. */
  #abort: AbortController | null = null;

  request(): void {
    this.isRequested = true;
    this.#abort?.abort();
  }

  get signal(): AbortSignal {
    if (this.#abort === null) {
      this.#abort = new AbortController();
      if (this.isRequested) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  /** The result of `work`; rejects with the cancel, if that comes first. */
  interrupt<T>(work: Promise<T>): Promise<T> {
    const { signal } = this;
    return new Promise<T>((resolve, reject) => {
      work.then(resolve, reject);
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }
}
