import { CodedError, type ErrorCode } from "../../errors/index.ts";
import type { Log } from "../log.ts";
import type { Project } from "../project.ts";
import type { OpenApiDocument } from "../schema/openapi.ts";
import { Deaths } from "./deaths.ts";
import { Healthcheck } from "./healthcheck.ts";
import { beatMs, Heartbeat } from "./heartbeat.ts";
import { Lease } from "./lease.ts";
import { WorkerProcess } from "./process.ts";
import type { FromWorker, RunRequest, SetupFailure } from "./protocol.ts";
import { Secrets } from "./secrets.ts";
import { SetupRecord } from "./setup-record.ts";

export type WorkerState = "starting" | "ready" | "setupFailed" | "defunct" | "stopped";

export interface SupervisorOptions {
  readonly project: Project;
  readonly role: "predict" | "train";
  readonly weights: string | null;
  readonly setupTimeoutMs: number | null;
  /** Slots, where the environment or cog.yaml says so. */
  readonly concurrency: number | null;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
  /** The first worker loads the declarations, and waits for beginSetup() before its setup. */
  readonly holdSetup: boolean;
  /** A process that is not heard of for so long is silent. */
  readonly heartbeatLimitMs: number;
  /** After a run's cancel: when a silent process is ended if the run goes on. */
  readonly cancelLimitMs: number;
  /** And one that is heard, too: it has no other runs. */
  readonly endsStubbornRuns: boolean;
  /** A slot or the worker may be free, or gone, now. */
  readonly onChange: () => void;
  /** No slot is in use any more. */
  readonly onIdle: () => void;
}

/** What a run hears from its worker. */
export interface RunListener {
  receive(message: FromWorker): void;
  /** The worker has died under the run. */
  lost(reason: string): void;
}

/** Keeps one worker process alive, knows the state of its setup and hands out its slots. */
export class Supervisor {
  state: WorkerState = "starting";
  setup = new SetupRecord();
  document: OpenApiDocument | null = null;
  /** The document of the first worker, before its setup. Rejected when the declarations cannot be loaded. */
  readonly declared: Promise<OpenApiDocument>;
  slots = 1;
  hasHealthcheck = false;
  readonly #options: SupervisorOptions;
  readonly #listeners = new Map<number, RunListener>();
  readonly #healthcheck = new Healthcheck(() => this.#worker!.send({ type: "health" }));
  readonly #stateWaiters = new Set<() => void>();
  /** Runs that go on long after their cancel. */
  readonly #overdue = new Set<number>();
  readonly #deaths = new Deaths();
  readonly #secrets = new Secrets();
  #worker: WorkerProcess | null = null;
  #heartbeat: Heartbeat | null = null;
  #setupTimer: NodeJS.Timeout | undefined;
  #restartTimer: NodeJS.Timeout | undefined;
  #taken = 0;
  #isHeld: boolean;

  #declare: (document: OpenApiDocument) => void = () => {};
  #refuse: (error: Error) => void = () => {};

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#isHeld = options.holdSetup;
    this.declared = new Promise((resolve, reject) => {
      this.#declare = resolve;
      this.#refuse = reject;
    });
    // Most servers have nobody who waits for it.
    this.declared.catch(() => {});
  }

  start(): void {
    const { project, role, weights, env, setupTimeoutMs, heartbeatLimitMs: limitMs } = this.#options;
    this.#setState("starting");
    this.setup = new SetupRecord();
    const heartbeat = new Heartbeat({ limitMs, onChange: () => this.#heard() });
    this.#heartbeat = heartbeat;
    const worker = new WorkerProcess({
      cwd: project.dir,
      // What guards the server is none of the author's business.
      env: { ...Object.fromEntries(project.environment), ...env, COG_AUTH_TOKEN: undefined },
      beatMs: beatMs(limitMs),
      secrets: this.#secrets,
      events: {
        beat: () => heartbeat.beat(),
        printed: (data) => this.#printed(data),
        message: (message) => this.#receive(message),
        exit: (code, signal) => this.#exited(worker, code, signal),
      },
    });
    this.#worker = worker;
    const { predict, train, trainOutput } = project;
    worker.send({ type: "start", predict, train, trainOutput, role, weights, holdSetup: this.#isHeld });
    if (setupTimeoutMs !== null) {
      this.#setupTimer = setTimeout(() => {
        this.#setupEnded("failed", `setup took longer than ${setupTimeoutMs / 1000} seconds`);
        worker.kill();
      }, setupTimeoutMs);
    }
  }

  beginSetup(): void {
    if (this.#isHeld) this.#worker?.send({ type: "setup" });
    this.#isHeld = false;
  }

  /** Slots in use. */
  get taken(): number {
    return this.#taken;
  }

  get deathCount(): number {
    return this.#deaths.count;
  }

  /** The process is stopped or frozen: nothing that it is told is answered. */
  get isSilent(): boolean {
    return this.#heartbeat?.isSilent === true;
  }

  get isReady(): boolean {
    return this.state === "ready" && !this.isSilent;
  }

  get isFree(): boolean {
    return this.#taken < this.slots;
  }

  /** No worker will come any more. */
  get isGivenUp(): boolean {
    const isHopeless = this.state === "defunct" && this.#restartTimer === undefined;
    return isHopeless || this.state === "setupFailed" || this.state === "stopped";
  }

  /** A slot that is free; null: there is none. */
  lease(): Lease | null {
    if (!this.isFree) return null;
    this.#taken += 1;
    return new Lease(this, this.#giveBack);
  }

  readonly #giveBack = () => {
    this.#taken -= 1;
    this.#options.onChange();
    // Whoever waited may have it by now.
    if (this.#taken === 0) this.#options.onIdle();
  };

  /** Hands a run that has a slot to the worker. */
  run(request: RunRequest, listener: RunListener): void {
    this.#secrets.add(request);
    this.#listeners.set(request.run, listener);
    this.#worker!.send(request);
  }

  cancel(run: number): void {
    const listener = this.#listeners.get(run);
    if (listener === undefined) return;
    this.#worker?.send({ type: "cancel", run });
    setTimeout(() => this.#cancelIsOverdue(run), this.#options.cancelLimitMs).unref();
  }

  #cancelIsOverdue(run: number): void {
    if (!this.#listeners.has(run)) return;
    this.#overdue.add(run);
    if (this.#options.endsStubbornRuns) {
      this.#options.log.warn("a canceled run does not end: its process is ended");
      void this.stop(0);
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
    if (!this.isSilent || this.#overdue.size === 0) return;
    this.#options.log.warn("a canceled run is held by a process that is stopped or frozen: the process is ended");
    this.#worker?.kill();
  }

  /** What the author's healthcheck complains about; null: it is healthy. Never takes longer than 5 s. */
  checkHealth(): Promise<string | null> {
    return this.#healthcheck.ask();
  }

  /** Resolves at the next state that is not "starting". */
  async settled(): Promise<WorkerState> {
    while (this.state === "starting") await this.#nextState();
    return this.state;
  }

  /** Lets the worker run its teardown; kills it after `limitMs`. */
  async stop(limitMs: number): Promise<void> {
    clearTimeout(this.#restartTimer);
    const worker = this.#worker;
    const wasReady = this.state === "ready";
    this.#setState("stopped");
    if (worker === null) return;
    if (wasReady) worker.send({ type: "stop" });
    else worker.kill();
    const timer = setTimeout(() => worker.kill(), limitMs);
    while (this.#worker === worker) await this.#nextState();
    clearTimeout(timer);
  }

  /** Ends the worker now; its runs hear that it is lost. */
  kill(): void {
    this.#worker?.kill();
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case "declared":
        this.document = message.document;
        this.slots = this.#options.concurrency ?? message.concurrency;
        this.hasHealthcheck = message.healthcheck;
        this.#declare(message.document);
        break;
      case "ready":
        this.#setupEnded("succeeded", "");
        break;
      case "setupFailed":
        this.#refuse(asError(message));
        this.#setupEnded("failed", message.error, message.coded?.code);
        break;
      case "setupLog":
        this.#addSetupLog(message.data);
        break;
      case "strayLog":
        for (const line of linesOf(message.data)) this.#options.log.write("info", "cog::worker", line);
        break;
      case "health":
        this.#healthcheck.answered(message.error);
        break;
      default: {
        const listener = this.#listeners.get(message.run);
        if (message.type === "settled" || (message.type === "end" && message.settled)) {
          this.#listeners.delete(message.run);
          this.#overdue.delete(message.run);
          this.#secrets.ended(message.run);
        }
        listener?.receive(message);
      }
    }
  }

  #addSetupLog(data: string): void {
    const lines = linesOf(data);
    for (const line of lines) this.#options.log.always("cog::setup", line);
    this.setup.add(lines);
  }

  /** At every level: it may be a crash's last words. */
  #printed(data: string): void {
    for (const line of linesOf(data)) this.#options.log.always("cog::worker", line);
  }

  #setupEnded(status: "succeeded" | "failed", error: string, code?: ErrorCode): void {
    if (this.state !== "starting") return;
    clearTimeout(this.#setupTimer);
    this.setup.end(status, error);
    if (status === "failed") this.#options.log.setupFailed(error, code);
    else this.#options.log.info("setup succeeded");
    this.#setState(status === "succeeded" ? "ready" : "setupFailed");
  }

  #exited(worker: WorkerProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (worker !== this.#worker) return;
    this.#worker = null;
    this.#heartbeat?.close();
    this.#heartbeat = null;
    clearTimeout(this.#setupTimer);
    const how = describeEnd(code, signal);
    const wanted = this.state === "stopped" || this.state === "setupFailed";
    this.#refuse(new CodedError("WORKER_DIED", `the process that runs the model ended while loading it (${how})`));
    // The state changes first: a run that ends because of this must not find the slot free.
    if (!wanted) this.#died(how);
    for (const run of this.#listeners.keys()) this.#secrets.ended(run);
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    this.#overdue.clear();
    this.#healthcheck.answered("the worker process has ended");
    const reason = `the process that runs the model ended unexpectedly (${how})`;
    for (const listener of listeners) listener.lost(reason);
    this.#wake();
  }

  #died(how: string): void {
    const waitMs = this.#deaths.add();
    if (this.state === "starting") this.setup.end("failed", `worker: ${how}`);
    const next = waitMs === null ? "it is not started again" : `it is started again in ${waitMs} ms`;
    this.#options.log.error(`the worker process ended unexpectedly (${how}); ${next}`, { code: "WORKER_DIED" });
    this.#restartTimer = waitMs === null ? undefined : setTimeout(() => this.start(), waitMs);
    this.#setState("defunct");
  }

  #setState(state: WorkerState): void {
    this.state = state;
    this.#wake();
    this.#options.onChange();
  }

  #nextState(): Promise<void> {
    return new Promise((resolve) => this.#stateWaiters.add(resolve));
  }

  #wake(): void {
    const waiters = [...this.#stateWaiters];
    this.#stateWaiters.clear();
    for (const wake of waiters) wake();
  }
}

function asError({ error, coded }: SetupFailure): Error {
  if (coded === null) return new Error(error);
  return new CodedError(coded.code, coded.message, coded.hint === undefined ? {} : { hint: coded.hint });
}

function linesOf(data: string): string[] {
  return data.replace(/\n$/, "").split("\n");
}

function describeEnd(code: number | null, signal: NodeJS.Signals | null): string {
  // Reading on where a mapped file has lost its bytes ends a process so.
  if (signal === "SIGBUS") return "SIGBUS: a file that it had mapped, such as a model's weights, was cut short or lost";
  return signal ?? `exit code ${code}`;
}
