import type { LocalFiles } from "../files/local-files.ts";
import type { Log } from "../log.ts";
import type { Project } from "../project.ts";
import type { OpenApiDocument } from "../schema/openapi.ts";
import type { Settings } from "../settings.ts";
import { Supervisor } from "../worker/supervisor.ts";
import { type FinishedRun, FinishedRuns } from "./finished-runs.ts";
import { InputSchema } from "./input-schema.ts";
import { NewRuns, type RunRequest } from "./new-runs.ts";
import type { Family, Run } from "./run.ts";
import { RunQueue } from "./run-queue.ts";
import { RunStatistics } from "./statistics.ts";

export interface PredictionsOptions {
  readonly project: Project;
  readonly mode: "predict" | "train";
  readonly settings: Settings;
  readonly uploadUrl: string | null;
  readonly userAgent: string;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
  /** Of the main worker. */
  readonly holdSetup: boolean;
  readonly localFiles: LocalFiles | null;
}

/** Why there is no run: setup has not succeeded; no slot; no slot and no place in the queue. */
export type Refusal = "notReady" | "busy" | "queueFull";

/** After the runs were aborted, how long the worker may take before it is killed. */
const abortLimitMs = 5000;
/** At shutdown, how long terminal webhooks may still be retried. */
const webhookLimitMs = 5000;
const teardownLimitMs = 10_000;

/** All runs of this server, predictions and trainings in one space of ids, and the workers they run in. */
export class Predictions {
  /** The worker of the server's mode. Health tells of this one. */
  readonly main: Supervisor;
  readonly queue: RunQueue;
  readonly statistics = new RunStatistics();
  readonly #options: PredictionsOptions;
  readonly #runs = new Map<string, Set<Run>>();
  readonly #finished = new FinishedRuns();
  readonly #closing = new Set<Promise<void>>();
  readonly #newRuns: NewRuns;
  #schemas: { document: OpenApiDocument; predictions: InputSchema | null; trainings: InputSchema | null } | null = null;
  #trainer: Supervisor | null = null;

  constructor(options: PredictionsOptions) {
    this.#options = options;
    this.#newRuns = new NewRuns(options);
    this.queue = new RunQueue(options.settings.queueLength);
    this.main = this.#supervisor(options.mode, options.holdSetup);
  }

  /** The document clients read; null while setup has not succeeded. */
  get document(): OpenApiDocument | null {
    return this.main.state === "ready" ? this.main.document : null;
  }

  get hasTrainer(): boolean {
    return this.#options.project.train !== null;
  }

  /** May predictions be streamed? Only known once the document is. */
  get streams(): boolean {
    const post = this.document?.paths["/predictions"]?.post as Record<string, unknown> | undefined;
    return post?.["x-cog-streaming"] === true;
  }

  schema(family: Family): InputSchema | null {
    const document = this.document;
    if (document === null) return null;
    if (this.#schemas?.document !== document) {
      const schemas = document.components!.schemas!;
      const trainings = schemas.TrainingInput ? new InputSchema(document, "TrainingInput") : null;
      // A project that only trains answers /predictions with its trainer.
      const predictions = schemas.Input ? new InputSchema(document, "Input") : trainings;
      this.#schemas = { document, predictions, trainings };
    }
    return this.#schemas![family];
  }

  find(id: string): Run | undefined {
    return [...(this.#runs.get(id) ?? [])].at(-1);
  }

  /** A run that is over, for ten minutes. */
  findFinished(id: string): FinishedRun | undefined {
    return this.#finished.find(id);
  }

  /** Cancels every run of this id. False where there is none. */
  cancel(id: string): boolean {
    const runs = this.#runs.get(id);
    for (const run of runs ?? []) run.cancel();
    return runs !== undefined;
  }

  /** Starts a run, or puts it in the queue; or says why there is none. */
  create(family: Family, request: RunRequest): Run | Refusal {
    const refusal = this.#refusal(family);
    if (refusal !== null) {
      this.statistics.refused(refusal);
      return refusal;
    }
    const run = this.#newRun(family, request);
    const runs = this.#runs.get(run.id);
    if (runs === undefined) this.#runs.set(run.id, new Set([run]));
    else runs.add(run);
    const supervisor = this.#supervisorFor(family);
    if (supervisor.isFree) run.begin(supervisor);
    else this.queue.add(run);
    return run;
  }

  #refusal(family: Family): Refusal | null {
    if (this.main.state !== "ready") return "notReady";
    if (this.#supervisorFor(family).isFree) return null;
    if (this.queue.limit === 0) return "busy";
    return this.queue.isFull ? "queueFull" : null;
  }

  /** Seconds after which a client that found the queue full may try again. */
  get retryAfter(): number {
    return this.queue.retryAfter(this.main.slots);
  }

  /** A slot may have become free, or its worker may be gone for good. */
  #startWaiting(): void {
    this.queue.each((run) => {
      if (this.main.isGivenUp) {
        this.queue.remove(run);
        run.giveUp("the process that runs the model is not started again");
      } else if (this.main.state === "ready") {
        const supervisor = this.#supervisorFor(run.family);
        const isAlive = supervisor.state === "ready" || supervisor.state === "starting";
        if (!supervisor.isFree || !isAlive) return;
        this.queue.remove(run);
        run.begin(supervisor);
      }
    });
  }

  /** Resolves when no run is left. */
  async idle(): Promise<void> {
    while (this.#runs.size > 0) {
      const runs = [...this.#runs.values()].flatMap((set) => [...set]);
      await Promise.all(runs.map((run) => new Promise<void>((resolve) => run.onceOver(resolve))));
    }
  }

  /** Cancels all runs; what has not ended after five seconds ends with its worker. */
  abort(): void {
    for (const id of this.#runs.keys()) this.cancel(id);
    const timer = setTimeout(() => {
      this.main.kill();
      this.#trainer?.kill();
    }, abortLimitMs);
    timer.unref();
  }

  /** Ends the workers, waits for what runs have left to deliver and to clean up. */
  async close(): Promise<void> {
    await Promise.all([this.main.stop(teardownLimitMs), this.#trainer?.stop(teardownLimitMs)]);
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, webhookLimitMs);
    });
    await Promise.race([Promise.all(this.#closing), limit]);
    clearTimeout(timer);
    this.#finished.close();
    this.#newRuns.close();
  }

  #newRun(family: Family, request: RunRequest): Run {
    const component = family === "trainings" || this.#options.mode === "train" ? "TrainingOutput" : "Output";
    const output = this.document!.components!.schemas![component] as { type?: string } | undefined;
    return this.#newRuns.make(family, request, {
      schema: this.schema(family),
      isArrayOutput: output?.type === "array",
      // A training's events are for those who ask for them; its own answer is never a stream.
      isStreamed: this.streams || family === "trainings",
      onEnd: (run) => this.#ended(run),
    });
  }

  #ended(run: Run): void {
    this.queue.remove(run);
    this.statistics.ended(run.family, run.record);
    if (run.supervisor !== null) this.queue.learnTime(run.record.predictTime!);
    const runs = this.#runs.get(run.id);
    runs?.delete(run);
    if (runs?.size === 0) this.#runs.delete(run.id);
    // `closed` is set, and the stream's last event published, after this call.
    queueMicrotask(() => {
      this.#finished.add({ id: run.id, view: run.view(), stream: run.stream });
      this.#awaitAtClose(run.closed);
      const trainer = this.#trainer;
      if (trainer === null || run.supervisor !== trainer || trainer.taken > 0) return;
      this.#releaseTrainer(trainer);
      this.#startWaiting();
    });
  }

  /** In a server for predictions the trainer lives as long as it has something to do, so that it frees its memory. */
  #supervisorFor(family: Family): Supervisor {
    if (family === "predictions" || this.#options.mode === "train") return this.main;
    if (this.#trainer === null) {
      this.#trainer = this.#supervisor("train");
      this.#trainer.start();
    }
    return this.#trainer;
  }

  #releaseTrainer(supervisor: Supervisor): void {
    this.#trainer = null;
    this.#awaitAtClose(supervisor.stop(teardownLimitMs));
  }

  /** In a function of its own, so that nothing else is kept for as long as it takes. */
  #awaitAtClose(work: Promise<void>): void {
    this.#closing.add(work);
    void work.finally(() => this.#closing.delete(work));
  }

  #supervisor(role: "predict" | "train", holdSetup = false): Supervisor {
    const { project, settings, env, log } = this.#options;
    return new Supervisor({
      project,
      role,
      weights: settings.weights,
      setupTimeoutMs: settings.setupTimeoutMs,
      concurrency: role === "train" ? 1 : (settings.maxConcurrency ?? project.concurrency),
      env,
      log,
      holdSetup,
      onChange: () => this.#startWaiting(),
    });
  }
}
