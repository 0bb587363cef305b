import type { Log } from "../log.ts";
import type { Project } from "../project.ts";
import type { OpenApiDocument } from "../schema/openapi.ts";
import { WorkerProcess } from "./process.ts";
import type { FromWorker, RunRequest } from "./protocol.ts";

export type WorkerState = "starting" | "ready" | "setupFailed" | "defunct" | "stopped";

export interface SetupRecord {
  readonly startedAt: Date;
  readonly completedAt: Date | null;
  readonly status: "starting" | "succeeded" | "failed";
  readonly logs: string;
}

export interface SupervisorOptions {
  readonly project: Project;
  readonly role: "predict" | "train";
  readonly weights: string | null;
  readonly setupTimeoutMs: number | null;
  /** Slots, where the environment or cog.yaml says so. */
  readonly concurrency: number | null;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
}

/** What a run hears from its worker. */
export interface RunListener {
  receive(message: FromWorker): void;
  /** The worker has died under the run. */
  lost(reason: string): void;
}

const deathWindowMs = 60_000;
const deathsAllowed = 5;
const longestSetupLog = 1024 * 1024;

/** Keeps one worker process alive, knows the state of its setup and hands out its slots. */
export class Supervisor {
  state: WorkerState = "starting";
  setup: SetupRecord = { startedAt: new Date(), completedAt: null, status: "starting", logs: "" };
  document: OpenApiDocument | null = null;
  slots = 1;
  /** Slots in use. A run takes and releases its own. */
  taken = 0;
  hasHealthcheck = false;
  readonly #options: SupervisorOptions;
  readonly #listeners = new Map<number, RunListener>();
  readonly #healthChecks = new Map<number, (error: string | null) => void>();
  readonly #stateWaiters = new Set<() => void>();
  readonly #deaths: number[] = [];
  #worker: WorkerProcess | null = null;
  #setupTimer: NodeJS.Timeout | undefined;
  #restartTimer: NodeJS.Timeout | undefined;
  #checks = 0;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  start(): void {
    const { project, role, weights, env, setupTimeoutMs } = this.#options;
    this.#setState("starting");
    this.setup = { startedAt: new Date(), completedAt: null, status: "starting", logs: "" };
    const worker = new WorkerProcess({
      cwd: project.dir,
      env: { ...Object.fromEntries(project.environment), ...env },
      events: {
        message: (message) => this.#receive(message),
        exit: (code, signal) => this.#exited(worker, code, signal),
      },
    });
    this.#worker = worker;
    worker.send({ type: "start", predict: project.predict, train: project.train, role, weights });
    if (setupTimeoutMs !== null) {
      this.#setupTimer = setTimeout(() => {
        this.#setupEnded("failed", `setup took longer than ${setupTimeoutMs / 1000} seconds`);
        worker.kill();
      }, setupTimeoutMs);
    }
  }

  get isFree(): boolean {
    return this.taken < this.slots;
  }

  /** Hands a run that has a slot to the worker. */
  run(request: RunRequest, listener: RunListener): void {
    this.#listeners.set(request.run, listener);
    this.#worker!.send(request);
  }

  cancel(run: number): void {
    if (this.#listeners.has(run)) this.#worker?.send({ type: "cancel", run });
  }

  /** The author's healthcheck: null is healthy, else the reason. */
  checkHealth(): Promise<string | null> {
    this.#checks += 1;
    const check = this.#checks;
    const answer = new Promise<string | null>((resolve) => this.#healthChecks.set(check, resolve));
    this.#worker!.send({ type: "health", check });
    return answer;
  }

  /** Resolves at the next state that is not "starting". */
  async settled(): Promise<WorkerState> {
    while (this.state === "starting") await new Promise<void>((resolve) => this.#stateWaiters.add(resolve));
    return this.state;
  }

  /** Lets the worker run its teardown; kills it after `limitMs`. */
  async stop(limitMs: number): Promise<void> {
    clearTimeout(this.#restartTimer);
    const worker = this.#worker;
    const wasReady = this.state === "ready";
    this.#setState("stopped");
    if (worker === null) return;
    const gone = new Promise<void>((resolve) => this.#stateWaiters.add(resolve));
    if (wasReady) worker.send({ type: "stop" });
    else worker.kill();
    const timer = setTimeout(() => worker.kill(), limitMs);
    await gone;
    clearTimeout(timer);
  }

  /** Ends the worker now; its runs hear that it is lost. */
  kill(): void {
    this.#worker?.kill();
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case "ready":
        this.document = message.document;
        this.slots = this.#options.concurrency ?? message.concurrency;
        this.hasHealthcheck = message.healthcheck;
        this.#setupEnded("succeeded", "");
        break;
      case "setupFailed":
        this.#setupEnded("failed", message.error);
        break;
      case "setupLog":
        this.#addSetupLog(message.data);
        break;
      case "strayLog":
        for (const line of linesOf(message.data)) this.#options.log.write("info", "cog::worker", line);
        break;
      case "health":
        this.#healthChecks.get(message.check)?.(message.error);
        this.#healthChecks.delete(message.check);
        break;
      default: {
        const listener = this.#listeners.get(message.run);
        if (message.type === "settled" || (message.type === "end" && message.settled))
          this.#listeners.delete(message.run);
        listener?.receive(message);
      }
    }
  }

  #addSetupLog(data: string): void {
    const lines = linesOf(data);
    for (const line of lines) this.#options.log.setup(line);
    if (this.setup.logs.length > longestSetupLog) return;
    this.setup = { ...this.setup, logs: this.setup.logs + lines.map((line) => `[coglet::setup] ${line}\n`).join("") };
  }

  #setupEnded(status: "succeeded" | "failed", error: string): void {
    if (this.state !== "starting") return;
    clearTimeout(this.#setupTimer);
    this.setup = { ...this.setup, status, completedAt: new Date(), logs: this.setup.logs + error };
    if (status === "failed") this.#options.log.error(`setup failed: ${error}`);
    else this.#options.log.info("setup succeeded");
    this.#setState(status === "succeeded" ? "ready" : "setupFailed");
  }

  #exited(worker: WorkerProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (worker !== this.#worker) return;
    this.#worker = null;
    clearTimeout(this.#setupTimer);
    const wanted = this.state === "stopped" || this.state === "setupFailed";
    // The state changes first: a run that ends because of this must not find the slot free.
    if (!wanted) this.#died(signal === null ? `exit code ${code}` : signal);
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    for (const answer of this.#healthChecks.values()) answer("the worker process has ended");
    this.#healthChecks.clear();
    const reason = `the process that runs the model ended unexpectedly (${signal ?? `exit code ${code}`})`;
    for (const listener of listeners) listener.lost(reason);
    this.#wake();
  }

  #died(how: string): void {
    const now = Date.now();
    this.#deaths.push(now);
    while (this.#deaths[0]! < now - deathWindowMs) this.#deaths.shift();
    const isHopeless = this.#deaths.length >= deathsAllowed;
    if (this.state === "starting") {
      this.setup = {
        ...this.setup,
        status: "failed",
        completedAt: new Date(),
        logs: `${this.setup.logs}worker: ${how}`,
      };
    }
    this.#setState("defunct");
    const waitMs = 100 * 2 ** (this.#deaths.length - 1);
    const next = isHopeless ? "it is not started again" : `it is started again in ${waitMs} ms`;
    this.#options.log.error(`the worker process ended unexpectedly (${how}); ${next}`);
    if (!isHopeless) this.#restartTimer = setTimeout(() => this.start(), waitMs);
  }

  #setState(state: WorkerState): void {
    this.state = state;
    this.#wake();
  }

  #wake(): void {
    const waiters = [...this.#stateWaiters];
    this.#stateWaiters.clear();
    for (const wake of waiters) wake();
  }
}

function linesOf(data: string): string[] {
  return data.replace(/\n$/, "").split("\n");
}
