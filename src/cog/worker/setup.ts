import type { ErrorCode } from "../../errors/index.ts";
import type { Log } from "../log.ts";
import { linesOf } from "./logs.ts";
import { SetupRecord } from "./setup-record.ts";

/** The setup of a worker's latest process: its record, what it prints, its time limit. */
export class Setup {
  record = new SetupRecord();
  readonly #log: Log;
  readonly #limitMs: number | null;
  #timer: NodeJS.Timeout | undefined;

  /** `limitMs`: null is no limit. */
  constructor(log: Log, limitMs: number | null) {
    this.#log = log;
    this.#limitMs = limitMs;
  }

  /** A new process has been started. `onLate` is called with the reason when its setup takes too long. */
  begin(onLate: (error: string) => void): void {
    const limitMs = this.#limitMs;
    this.record = new SetupRecord();
    if (limitMs === null) return;
    this.#timer = setTimeout(() => onLate(`setup took longer than ${limitMs / 1000} seconds`), limitMs);
  }

  printed(data: string): void {
    const lines = linesOf(data);
    for (const line of lines) this.#log.always("cog::setup", line);
    this.record.add(lines);
  }

  ended(status: "succeeded" | "failed", error: string, code?: ErrorCode): void {
    this.stopTimer();
    this.record.end(status, error);
    if (status === "failed") this.#log.setupFailed(error, code);
    else this.#log.info("setup succeeded");
  }

  /** The process has ended before its setup has. */
  died(how: string): void {
    this.record.end("failed", `worker: ${how}`);
  }

  stopTimer(): void {
    clearTimeout(this.#timer);
  }
}
