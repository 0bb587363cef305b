import type { FromWorker, RunRequest } from "./protocol.ts";
import type { Secrets } from "./secrets.ts";

/** What a run hears from its worker. */
export interface RunListener {
  receive(message: FromWorker): void;
  /** The worker has died under the run. */
  lost(reason: string): void;
}

type RunMessage = Extract<FromWorker, { readonly run: number }>;

/** The runs that a worker process has been handed and that have not settled. */
export class HandedRuns {
  readonly #secrets: Secrets;
  readonly #listeners = new Map<number, RunListener>();
  /** Those that go on long after their cancel. */
  readonly #overdue = new Set<number>();

  constructor(secrets: Secrets) {
    this.#secrets = secrets;
  }

  get hasOverdue(): boolean {
    return this.#overdue.size > 0;
  }

  has(run: number): boolean {
    return this.#listeners.has(run);
  }

  add(request: RunRequest, listener: RunListener): void {
    this.#secrets.add(request);
    this.#listeners.set(request.run, listener);
  }

  markOverdue(run: number): void {
    this.#overdue.add(run);
  }

  receive(message: RunMessage): void {
    const listener = this.#listeners.get(message.run);
    if (message.type === "settled" || (message.type === "end" && message.settled)) {
      this.#listeners.delete(message.run);
      this.#overdue.delete(message.run);
      this.#secrets.ended(message.run);
    }
    listener?.receive(message);
  }

  /** The process is gone: forgets all runs. Returns who has to hear of it. */
  takeAll(): readonly RunListener[] {
    for (const run of this.#listeners.keys()) this.#secrets.ended(run);
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    this.#overdue.clear();
    return listeners;
  }
}
