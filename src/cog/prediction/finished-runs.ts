import type { EventStream } from "./event-stream.ts";

/** A run that is over, as it can still be read. */
export interface FinishedRun {
  readonly id: string;
  /** The answer to GET, as JSON. */
  readonly view: string;
  /** null: the run offered none. */
  readonly stream: EventStream | null;
}

const keptMs = 10 * 60_000;
const mostRuns = 1000;
const mostBytes = 64 * 1024 * 1024;

interface Entry {
  readonly run: FinishedRun;
  readonly bytes: number;
  readonly until: number;
}

/** The runs of the last ten minutes, the newest of each id: at most a thousand, and 64 MiB of answers and events. */
export class FinishedRuns {
  /** In the order of their end. */
  readonly #entries = new Map<string, Entry>();
  readonly #now: () => number;
  #bytes = 0;
  #sweep: NodeJS.Timeout | undefined;

  /** `now` in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  add(run: FinishedRun): void {
    this.#remove(run.id);
    const bytes = Buffer.byteLength(run.view) + (run.stream?.size ?? 0);
    if (bytes > mostBytes) return;
    this.#entries.set(run.id, { run, bytes, until: this.#now() + keptMs });
    this.#bytes += bytes;
    for (const id of this.#entries.keys()) {
      if (this.#entries.size <= mostRuns && this.#bytes <= mostBytes) break;
      this.#remove(id);
    }
    this.#sweep ??= setInterval(() => this.#removeOld(), keptMs / 10).unref();
  }

  find(id: string): FinishedRun | undefined {
    const entry = this.#entries.get(id);
    return entry !== undefined && entry.until > this.#now() ? entry.run : undefined;
  }

  /** Ends the timer. */
  close(): void {
    clearInterval(this.#sweep);
  }

  #removeOld(): void {
    const now = this.#now();
    for (const [id, { until }] of this.#entries) {
      if (until > now) break;
      this.#remove(id);
    }
  }

  #remove(id: string): void {
    this.#bytes -= this.#entries.get(id)?.bytes ?? 0;
    this.#entries.delete(id);
  }
}
