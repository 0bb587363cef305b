import type { Log } from "../log.ts";
import { Deaths } from "./deaths.ts";

/** Starts a worker's process again after an unexpected end, later each time; not at all where it has died too often. */
export class Restarts {
  readonly #log: Log;
  readonly #start: () => void;
  readonly #deaths = new Deaths();
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Log, start: () => void) {
    this.#log = log;
    this.#start = start;
  }

  /** Unexpected ends so far. */
  get deaths(): number {
    return this.#deaths.count;
  }

  /** After the last end: is there a process to come? */
  get isPlanned(): boolean {
    return this.#timer !== undefined;
  }

  /** The process has ended unexpectedly, `how` says in what way. */
  died(how: string): void {
    const waitMs = this.#deaths.add();
    const next = waitMs === null ? "it is not started again" : `it is started again in ${waitMs} ms`;
    this.#log.error(`the worker process ended unexpectedly (${how}); ${next}`, { code: "WORKER_DIED" });
    this.#timer = waitMs === null ? undefined : setTimeout(this.#start, waitMs);
  }

  cancel(): void {
    clearTimeout(this.#timer);
  }
}

/** The way in which a process ended, for the log and for its runs. */
export function describeEnd(code: number | null, signal: NodeJS.Signals | null): string {
  // Reading on where a mapped file has lost its bytes ends a process so.
  if (signal === "SIGBUS") return "SIGBUS: a file that it had mapped, such as a model's weights, was cut short or lost";
  return signal ?? `exit code ${code}`;
}
