import type { LocalFiles } from "../files/local-files.ts";
import type { OpenApiDocument } from "../schema/openapi.ts";
import type { Supervisor } from "../worker/supervisor.ts";
import { type FinishedRun, FinishedRuns } from "./finished-runs.ts";
import type { InputSchema } from "./input-schema.ts";
import { NewRuns, type RunRequest } from "./new-runs.ts";
import type { Run } from "./run.ts";
import type { Family } from "./run-options.ts";
import { RunQueue } from "./run-queue.ts";
import { Schemas } from "./schemas.ts";
import { RunStatistics } from "./statistics.ts";
import { Workers, type WorkersOptions } from "./workers.ts";

export interface PredictionsOptions extends WorkersOptions {
  readonly uploadUrl: string | null;
  readonly userAgent: string;
  readonly localFiles: LocalFiles | null;
}

/** Why there is no run: setup has not succeeded; no slot; no slot and no place in the queue. */
export type Refusal = "notReady" | "busy" | "queueFull";

/** At shutdown, how long terminal webhooks may still be retried. */
const webhookLimitMs = 5000;

/** All runs of this server, predictions and trainings in one space of ids, and the workers they run in. */
export class Predictions {
  readonly queue: RunQueue;
  readonly statistics = new RunStatistics();
  readonly #options: PredictionsOptions;
  readonly #runs = new Map<string, Set<Run>>();
  readonly #finished = new FinishedRuns();
  readonly #closing = new Set<Promise<void>>();
  readonly #newRuns: NewRuns;
  readonly #workers: Workers;
  #schemas: Schemas | null = null;

  constructor(options: PredictionsOptions) {
    this.#options = options;
    this.#newRuns = new NewRuns(options);
    this.queue = new RunQueue(options.settings.queueLength);
    this.#workers = new Workers(options, () => this.#startWaiting());
  }

  /** The worker of the server's mode. Health tells of this one. */
  get main(): Supervisor {
    return this.#workers.main;
  }

  /** The document clients read; null while setup has not succeeded. */
  get document(): OpenApiDocument | null {
    return this.main.state === "ready" ? this.main.document : null;
  }

  get hasTrainer(): boolean {
    return this.#options.project.train !== null;
  }

  /** May predictions be streamed? Not known before the first setup has succeeded; a process that is started again changes nothing. */
  get streams(): boolean {
    return (this.#published ?? this.#schemas)?.streams === true;
  }

  schema(family: Family): InputSchema | null {
    return this.#published?.input(family) ?? null;
  }

  /** A restarted worker brings a new document. */
  get #published(): Schemas | null {
    const { document } = this;
    if (document !== null && this.#schemas?.document !== document) {
      this.#schemas = new Schemas(document, this.#options.mode === "train");
    }
    return document === null ? null : this.#schemas;
  }

  find(id: string): Run | undefined {
    return [...(this.#runs.get(id) ?? [])].at(-1);
  }

  /** A run that is over, for ten minutes. */
  findFinished(id: string): FinishedRun | undefined {
    return this.#finished.find(id);
  }

  /** Metrics of the training under way that are numbers, at most `most` of them: a server runs one training at a time. */
  trainingMetrics(most: number): [name: string, value: number][] {
    const runs = [...this.#runs.values()].flatMap((set) => [...set]);
    const training = runs.find(({ family, record }) => family === "trainings" && record.status === "processing");
    return training?.record.numericMetrics(most) ?? [];
  }

  /** Cancels every run of this id. False where there is none. */
  cancel(id: string): boolean {
    const runs = this.#runs.get(id);
    for (const run of runs ?? []) run.cancel();
    return runs !== undefined;
  }

  /** Starts a run, or puts it in the queue; or says why there is none. */
  create(family: Family, request: RunRequest): Run | Refusal {
    const refusal = this.#refusal(family, request.size);
    if (refusal !== null) {
      this.statistics.refused(refusal);
      return refusal;
    }
    const run = this.#newRun(family, request);
    const runs = this.#runs.get(run.id);
    if (runs === undefined) this.#runs.set(run.id, new Set([run]));
    else runs.add(run);
    const lease = this.#workers.for(family).slots.lease();
    if (lease !== null) run.begin(lease);
    else this.queue.add(run);
    return run;
  }

  #refusal(family: Family, size: number): Refusal | null {
    if (!this.main.isReady) return "notReady";
    if (this.#workers.for(family).slots.isFree) return null;
    if (this.queue.limit === 0) return "busy";
    return this.queue.isFullFor(size) ? "queueFull" : null;
  }

  /** Seconds after which a client that found the queue full may try again. */
  get retryAfter(): number {
    return this.queue.retryAfter(this.main.slots.count);
  }

  /** A slot may have become free, or its worker may be gone for good. */
  #startWaiting(): void {
    this.queue.each((run) => {
      if (this.main.isGivenUp) run.giveUp("the process that runs the model is not started again");
      else if (this.main.state === "ready") this.#beginWaiting(run);
    });
  }

  #beginWaiting(run: Run): void {
    const supervisor = this.#workers.for(run.family);
    if ((supervisor.state !== "ready" && supervisor.state !== "starting") || supervisor.isSilent) return;
    const lease = supervisor.slots.lease();
    if (lease === null) return;
    this.queue.remove(run);
    run.begin(lease);
  }

  /** Resolves when no run is left. */
  async idle(): Promise<void> {
    while (this.#runs.size > 0) {
      const runs = [...this.#runs.values()].flatMap((set) => [...set]);
      await Promise.all(runs.map((run) => new Promise<void>((resolve) => run.onceOver(resolve))));
    }
  }

  /** Cancels all runs; what has not ended after COG_CANCEL_GRACE ends with its worker. */
  abort(): void {
    for (const id of this.#runs.keys()) this.cancel(id);
    setTimeout(() => this.#workers.kill(), this.#options.settings.cancelGraceMs).unref();
  }

  /** Ends the workers, waits for what runs have left to deliver and to clean up. */
  async close(): Promise<void> {
    await this.#workers.stop();
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
    return this.#newRuns.make(family, request, {
      schema: this.schema(family),
      isArrayOutput: this.#published!.isArrayOutput(family),
      // A training's events are for those who ask for them; its own answer is never a stream.
      isStreamed: this.streams || family === "trainings",
      onEnd: (run) => this.#ended(run),
    });
  }

  #ended(run: Run): void {
    const neverBegan = this.queue.remove(run);
    this.statistics.ended(run.family, run.record);
    if (!neverBegan) this.queue.learnTime(run.record.predictTime!);
    const runs = this.#runs.get(run.id);
    runs?.delete(run);
    if (runs?.size === 0) this.#runs.delete(run.id);
    // `closed` is set, and the stream's last event published, after this call.
    queueMicrotask(() => {
      this.#finished.add({ id: run.id, view: run.view(), stream: run.stream });
      if (run.closed !== null) this.#awaitAtClose(run.closed);
    });
  }

  /** In a function of its own, so that nothing else is kept for as long as it takes. */
  #awaitAtClose(work: Promise<void>): void {
    this.#closing.add(work);
    void work.finally(() => this.#closing.delete(work));
  }
}
