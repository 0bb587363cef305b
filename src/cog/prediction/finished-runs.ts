import { LRUCache } from "lru-cache";
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

/** The runs of the last ten minutes, the newest of each id: at most a thousand, and 64 MiB of answers and events. */
export class FinishedRuns {
  readonly #runs: LRUCache<string, FinishedRun>;
  #sweep: NodeJS.Timeout | undefined;

  /** `now` in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#runs = new LRUCache({
      max: mostRuns,
      maxSize: mostBytes,
      sizeCalculation: ({ view, stream }) => Buffer.byteLength(view) + (stream?.size ?? 0),
      ttl: keptMs,
      // Without a timer for each look at the clock.
      ttlResolution: 0,
      perf: { now },
    });
  }

  add(run: FinishedRun): void {
    this.#runs.set(run.id, run);
    this.#sweep ??= setInterval(() => this.#runs.purgeStale(), keptMs / 10).unref();
  }

  find(id: string): FinishedRun | undefined {
    // Not `get`: the latest runs are kept, not those that are read most.
    return this.#runs.peek(id);
  }

  /** Ends the timer. */
  close(): void {
    clearInterval(this.#sweep);
  }
}
