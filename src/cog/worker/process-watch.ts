import type { HandedRuns } from "./handed-runs.ts";
import { Heartbeat } from "./heartbeat.ts";
import type { SupervisorOptions } from "./supervisor-options.ts";

type Options = Pick<SupervisorOptions, "log" | "heartbeatLimitMs" | "cancelLimitMs" | "endsStubbornRuns" | "onChange">;

/** Ways to end the process that is watched. */
interface Ends {
  kill(): void;
  /** For good: no other process follows. */
  stop(): void;
}

/** Watches a worker process: whether it is heard of, and whether canceled runs end. Ends one that keeps such a run. */
export class ProcessWatch {
  readonly #options: Options;
  readonly #runs: HandedRuns;
  readonly #ends: Ends;
  #heartbeat: Heartbeat | null = null;

  constructor(options: Options, runs: HandedRuns, ends: Ends) {
    this.#options = options;
    this.#runs = runs;
    this.#ends = ends;
  }

  /** The process is stopped or frozen: nothing that it is told is answered. */
  get isSilent(): boolean {
    return this.#heartbeat?.isSilent === true;
  }

  /** Watches a new process, whose beats the returned heartbeat is to be told. */
  begin(): Heartbeat {
    this.#heartbeat = new Heartbeat({ limitMs: this.#options.heartbeatLimitMs, onChange: () => this.#heard() });
    return this.#heartbeat;
  }

  /** The process is gone. */
  end(): void {
    this.#heartbeat?.close();
    this.#heartbeat = null;
  }

  /** The process has been told to cancel a run. */
  canceled(run: number): void {
    setTimeout(() => this.#cancelIsOverdue(run), this.#options.cancelLimitMs).unref();
  }

  #cancelIsOverdue(run: number): void {
    if (!this.#runs.has(run)) return;
    this.#runs.markOverdue(run);
    if (this.#options.endsStubbornRuns) {
      this.#options.log.warn("a canceled run does not end: its process is ended");
      this.#ends.stop();
    } else this.#endIfSilent();
  }

  #heard(): void {
    const { log, heartbeatLimitMs, onChange } = this.#options;
    const limit = `${heartbeatLimitMs / 1000} s (COG_HEARTBEAT_TIMEOUT)`;
    if (this.isSilent) log.warn(`the worker process is stopped or frozen: it has not been heard of for ${limit}`);
    else log.info("the worker process is heard of again");
    this.#endIfSilent();
    onChange();
  }

  #endIfSilent(): void {
    if (!this.isSilent || !this.#runs.hasOverdue) return;
    this.#options.log.warn("a canceled run is held by a process that is stopped or frozen: the process is ended");
    this.#ends.kill();
  }
}
