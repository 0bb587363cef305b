import { CodedError, type ErrorCode } from "../../errors/index.ts";
import type { OpenApiDocument } from "../schema/openapi.ts";
import { asError, Declared } from "./declared.ts";
import { HandedRuns, type RunListener } from "./handed-runs.ts";
import { Healthcheck } from "./healthcheck.ts";
import { launch } from "./launch.ts";
import { linesOf } from "./logs.ts";
import type { WorkerProcess } from "./process.ts";
import { ProcessWatch } from "./process-watch.ts";
import type { FromWorker, RunRequest } from "./protocol.ts";
import { describeEnd, Restarts } from "./restarts.ts";
import { Secrets } from "./secrets.ts";
import { Setup } from "./setup.ts";
import { Slots } from "./slots.ts";
import type { SupervisorOptions } from "./supervisor-options.ts";
import { ObservedState, type WorkerState } from "./worker-state.ts";

/** Keeps one worker process alive, knows the state of its setup and hands out its slots. */
export class Supervisor {
  document: OpenApiDocument | null = null;
  readonly slots: Slots;
  /** Of the latest process. */
  readonly setup: Setup;
  readonly restarts: Restarts;
  hasHealthcheck = false;
  /** The author's. */
  readonly healthcheck = new Healthcheck(() => this.#worker!.send({ type: "health" }));
  readonly #options: SupervisorOptions;
  readonly #state = new ObservedState();
  readonly #declared = new Declared();
  readonly #secrets = new Secrets();
  readonly #runs = new HandedRuns(this.#secrets);
  readonly #watch: ProcessWatch;
  #worker: WorkerProcess | null = null;
  #isHeld: boolean;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#isHeld = options.holdSetup;
    this.slots = new Slots(this, options);
    this.setup = new Setup(options.log, options.setupTimeoutMs);
    this.restarts = new Restarts(options.log, () => this.start());
    this.#watch = new ProcessWatch(options, this.#runs, {
      kill: () => this.kill(),
      stop: () => void this.stop(0),
    });
  }

  start(): void {
    this.#setState("starting");
    const heartbeat = this.#watch.begin();
    const worker = launch(this.#options, {
      secrets: this.#secrets,
      holdSetup: this.#isHeld,
      events: {
        beat: () => heartbeat.beat(),
        // At every level: it may be a crash's last words.
        printed: (data) => {
          for (const line of linesOf(data)) this.#options.log.always("cog::worker", line);
        },
        message: (message) => this.#receive(message),
        exit: (code, signal) => this.#exited(worker, code, signal),
      },
    });
    this.#worker = worker;
    this.setup.begin((error) => {
      this.#setupEnded("failed", error);
      worker.kill();
    });
  }

  beginSetup(): void {
    if (this.#isHeld) this.#worker?.send({ type: "setup" });
    this.#isHeld = false;
  }

  get state(): WorkerState {
    return this.#state.current;
  }

  /** The document of the first worker, before its setup. Rejected when the declarations cannot be loaded. */
  get declared(): Promise<OpenApiDocument> {
    return this.#declared.document;
  }

  /** The process is stopped or frozen: nothing that it is told is answered. */
  get isSilent(): boolean {
    return this.#watch.isSilent;
  }

  get isReady(): boolean {
    return this.state === "ready" && !this.isSilent;
  }

  /** No worker will come any more. */
  get isGivenUp(): boolean {
    const isHopeless = this.state === "defunct" && !this.restarts.isPlanned;
    return isHopeless || this.state === "setupFailed" || this.state === "stopped";
  }

  /** Hands a run that has a slot to the worker. */
  run(request: RunRequest, listener: RunListener): void {
    this.#runs.add(request, listener);
    this.#worker!.send(request);
  }

  cancel(run: number): void {
    if (!this.#runs.has(run)) return;
    this.#worker?.send({ type: "cancel", run });
    this.#watch.canceled(run);
  }

  /** Resolves at the next state that is not "starting". */
  settled(): Promise<WorkerState> {
    return this.#state.settled();
  }

  /** Lets the worker run its teardown; kills it after `limitMs`. */
  async stop(limitMs: number): Promise<void> {
    this.restarts.cancel();
    const worker = this.#worker;
    const wasReady = this.state === "ready";
    this.#setState("stopped");
    if (worker === null) return;
    if (wasReady) worker.send({ type: "stop" });
    else worker.kill();
    const timer = setTimeout(() => worker.kill(), limitMs);
    while (this.#worker === worker) await this.#state.next();
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
        this.slots.count = this.#options.concurrency ?? message.concurrency;
        this.hasHealthcheck = message.healthcheck;
        this.#declared.resolve(message.document);
        break;
      case "ready":
        this.#setupEnded("succeeded", "");
        break;
      case "setupFailed":
        this.#declared.reject(asError(message));
        this.#setupEnded("failed", message.error, message.coded?.code);
        break;
      case "setupLog":
        this.setup.printed(message.data);
        break;
      case "strayLog":
        for (const line of linesOf(message.data)) this.#options.log.write("info", "cog::worker", line);
        break;
      case "health":
        this.healthcheck.answered(message.error);
        break;
      default:
        this.#runs.receive(message);
    }
  }

  #setupEnded(status: "succeeded" | "failed", error: string, code?: ErrorCode): void {
    if (this.state !== "starting") return;
    this.setup.ended(status, error, code);
    this.#setState(status === "succeeded" ? "ready" : "setupFailed");
  }

  #exited(worker: WorkerProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (worker !== this.#worker) return;
    this.#worker = null;
    this.#watch.end();
    this.setup.stopTimer();
    const how = describeEnd(code, signal);
    const wanted = this.state === "stopped" || this.state === "setupFailed";
    this.#declared.reject(
      new CodedError("WORKER_DIED", `the process that runs the model ended while loading it (${how})`),
    );
    // The state changes first: a run that ends because of this must not find the slot free.
    if (!wanted) {
      if (this.state === "starting") this.setup.died(how);
      this.restarts.died(how);
      this.#setState("defunct");
    }
    const listeners = this.#runs.takeAll();
    this.healthcheck.answered("the worker process has ended");
    const reason = `the process that runs the model ended unexpectedly (${how})`;
    for (const listener of listeners) listener.lost(reason);
    this.#state.wake();
  }

  #setState(state: WorkerState): void {
    this.#state.set(state);
    this.#options.onChange();
  }
}
