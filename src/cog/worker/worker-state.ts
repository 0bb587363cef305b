export type WorkerState = "starting" | "ready" | "setupFailed" | "defunct" | "stopped";

/** The state of a worker, and who waits for the next one. */
export class ObservedState {
  #current: WorkerState = "starting";
  readonly #waiting = new Set<() => void>();

  get current(): WorkerState {
    return this.#current;
  }

  set(state: WorkerState): void {
    this.#current = state;
    this.wake();
  }

  /** Resolves at the next wake(). */
  next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve));
  }

  /** Resolves at the next state that is not "starting". */
  async settled(): Promise<WorkerState> {
    while (this.#current === "starting") await this.next();
    return this.#current;
  }

  /** Something has changed that those who wait may look at. */
  wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}
