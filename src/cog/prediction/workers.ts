import type { Log } from "../log.ts";
import type { Project } from "../project.ts";
import type { Settings } from "../settings.ts";
import { Supervisor } from "../worker/supervisor.ts";
import type { Family } from "./run-options.ts";

export interface WorkersOptions {
  readonly project: Project;
  readonly mode: "predict" | "train";
  readonly settings: Settings;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
  /** Of the main worker. */
  readonly holdSetup: boolean;
}

const teardownLimitMs = 10_000;
/** What a trainer has beyond the grace of a cancel. */
const marginMs = 5000;

/** The worker of the server's mode and, in a server for predictions, that of its trainings. */
export class Workers {
  readonly main: Supervisor;
  readonly #options: WorkersOptions;
  readonly #onChange: () => void;
  /** Lives as long as it has something to do, so that it frees its memory. */
  #trainer: Supervisor | null = null;
  /** Trainers on their way out. */
  readonly #leaving = new Set<Promise<void>>();

  /** `onChange`: a slot or a worker may be free, or gone, now. */
  constructor(options: WorkersOptions, onChange: () => void) {
    this.#options = options;
    this.#onChange = onChange;
    this.main = this.#supervisor(options.mode, options.holdSetup);
  }

  for(family: Family): Supervisor {
    if (family === "predictions" || this.#options.mode === "train") return this.main;
    if (this.#trainer === null) {
      this.#trainer = this.#supervisor("train");
      this.#trainer.start();
    }
    return this.#trainer;
  }

  /** Ends all processes now; their runs hear that they are lost. */
  kill(): void {
    this.main.kill();
    this.#trainer?.kill();
  }

  /** Lets all processes run their teardown and end. */
  async stop(): Promise<void> {
    await Promise.all([this.main.stop(teardownLimitMs), this.#trainer?.stop(teardownLimitMs), ...this.#leaving]);
  }

  #supervisor(role: "predict" | "train", holdSetup = false): Supervisor {
    const { mode, project, settings, env, log } = this.#options;
    const isMain = role === mode;
    return new Supervisor({
      project,
      role,
      weights: settings.weights,
      setupTimeoutMs: settings.setupTimeoutMs,
      concurrency: role === "train" ? 1 : (settings.maxConcurrency ?? project.concurrency),
      env,
      log,
      holdSetup,
      // The trainer has one run only, so that nothing else is lost with its process.
      heartbeatLimitMs: settings.heartbeatLimitMs,
      cancelGraceMs: settings.cancelGraceMs,
      cancelLimitMs: settings.cancelGraceMs + (isMain ? settings.heartbeatLimitMs : marginMs),
      endsStubbornRuns: !isMain,
      onChange: this.#onChange,
      onIdle: isMain ? () => {} : () => this.#releaseTrainer(),
    });
  }

  #releaseTrainer(): void {
    const work = this.#trainer!.stop(teardownLimitMs);
    this.#trainer = null;
    this.#leaving.add(work);
    void work.finally(() => this.#leaving.delete(work));
    this.#onChange();
  }
}
