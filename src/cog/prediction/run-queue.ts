import type { Run } from "./run.ts";

/** Runs that wait for a slot, first come first served within their family. */
export class RunQueue {
  readonly limit: number;
  readonly #waiting = new Set<Run>();
  /** Of the last runs, in seconds; for the advice when to come back. */
  #usualTime = 1;

  constructor(limit: number) {
    this.limit = limit;
  }

  get length(): number {
    return this.#waiting.size;
  }

  get isFull(): boolean {
    return this.#waiting.size >= this.limit;
  }

  add(run: Run): void {
    this.#waiting.add(run);
  }

  /** False where it did not wait. */
  remove(run: Run): boolean {
    return this.#waiting.delete(run);
  }

  /** Calls back for each that waits at this moment. */
  each(callback: (run: Run) => void): void {
    if (this.#waiting.size > 0) for (const run of [...this.#waiting]) callback(run);
  }

  learnTime(seconds: number): void {
    this.#usualTime += (seconds - this.#usualTime) / 8;
  }

  /** Seconds after which a place is likely, from 1 to 60. */
  retryAfter(slots: number): number {
    return Math.min(60, Math.max(1, Math.ceil(this.#usualTime / slots)));
  }
}
