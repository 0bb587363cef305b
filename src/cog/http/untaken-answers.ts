import type { ServerResponse } from "node:http";
import type { Log } from "../log.ts";

/** Less is mostly in the kernel's hands, and not counted. */
const smallAnswer = 65_536;
/** An answer must be taken at least at this speed, in bytes per second, beside the silence that is allowed. */
const leastSpeed = 65_536;
const warnEveryMs = 60_000;

interface Options {
  /** COG_CLIENT_TIMEOUT: a client may take nothing for so long. */
  readonly timeoutMs: number;
  /** COG_ANSWER_MEMORY: bytes that clients have not taken yet. */
  readonly memory: number;
  readonly log: Log;
}

/**
 * Limits what clients cost that do not take their answers: in time, and in bytes of all together. Beyond those the answers
 * that have been waiting for longest are broken off, never the latest.
 */
export class UntakenAnswers {
  readonly timeoutMs: number;
  readonly #memory: number;
  readonly #log: Log;
  /** Those that were large once, in that order. */
  readonly #large = new Set<ServerResponse>();
  #lastWarning = Number.NEGATIVE_INFINITY;

  constructor({ timeoutMs, memory, log }: Options) {
    this.timeoutMs = timeoutMs;
    this.#memory = memory;
    this.#log = log;
  }

  /** Looks after an answer once it is complete. */
  watch(res: ServerResponse): void {
    res.on("prefinish", () => this.#complete(res));
  }

  /** Counts what was written to an answer. */
  written(res: ServerResponse): void {
    if (res.writableLength <= smallAnswer) return;
    if (!this.#large.has(res)) {
      this.#large.add(res);
      res.once("close", () => this.#large.delete(res));
    }
    let total = 0;
    for (const { writableLength } of this.#large) total += writableLength;
    for (const other of this.#large) {
      if (total <= this.#memory || other === res) return;
      if (other.writableLength <= smallAnswer) continue;
      total -= other.writableLength;
      this.#warn();
      other.destroy();
    }
  }

  #complete(res: ServerResponse): void {
    const { writableLength } = res;
    // The kernel has taken all of it: no timer for most answers.
    if (writableLength === 0) return;
    res.setTimeout(this.timeoutMs, () => res.destroy());
    if (writableLength <= smallAnswer) return;
    const deadline = setTimeout(() => res.destroy(), this.timeoutMs + (writableLength / leastSpeed) * 1000);
    res.once("close", () => clearTimeout(deadline));
    this.written(res);
  }

  #warn(): void {
    if (performance.now() - this.#lastWarning < warnEveryMs) return;
    this.#lastWarning = performance.now();
    this.#log.warn(
      `clients have left more than ${this.#memory} bytes of their answers (COG_ANSWER_MEMORY): the answers that have waited for longest are broken off`,
    );
  }
}
