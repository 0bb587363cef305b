import { rm } from "node:fs/promises";
import { type ErrorCode, errorCodes, isCodedError } from "../../errors/index.ts";
import { fetchInputFiles, type LocalWays } from "../files/input-files.ts";
import type { Fetch } from "../files/network.ts";
import { resolveOutputFiles } from "../files/output-files.ts";
import type { Log, LogFields, LogLevel } from "../log.ts";
import type { FromWorker, RunEnd } from "../worker/protocol.ts";
import type { RunListener, Supervisor } from "../worker/supervisor.ts";
import type { EventStream } from "./event-stream.ts";
import type { InputSchema } from "./input-schema.ts";
import { logFieldsOf } from "./log-fields.ts";
import { RunRecord, type Status } from "./record.ts";
import type { Webhook } from "./webhook.ts";

export type Family = "predictions" | "trainings";

/** What a run has to do with the world around it. */
export interface RunOptions {
  readonly id: string;
  /** Unlike the id, chosen by us and unique. */
  readonly number: number;
  readonly family: Family;
  readonly input: Readonly<Record<string, unknown>>;
  readonly context: Readonly<Record<string, string>>;
  readonly schema: InputSchema | null;
  /** The declared output is an array. */
  readonly isArrayOutput: boolean;
  readonly stream: EventStream | null;
  readonly webhook: Webhook | null;
  /** The run's own folder, made when it is needed. */
  readonly folder: string;
  readonly uploadUrl: string | null;
  readonly inputFetch: Fetch;
  readonly local: LocalWays | null;
  readonly outputFetch: Fetch;
  readonly userAgent: string | null;
  readonly maxDownloadBytes: number;
  readonly log: Log;
  /** Of the request, for the log. */
  readonly traceparent: string | undefined;
  /** Called once, when the outcome is known and before anyone else hears of it. */
  readonly onEnd: (run: Run) => void;
}

/** One prediction or training, from its slot to its outcome. */
export class Run implements RunListener {
  readonly id: string;
  readonly family: Family;
  readonly stream: EventStream | null;
  readonly record: RunRecord;
  /** Resolves when the terminal webhook has been taken or given up. */
  closed: Promise<void> = Promise.resolve();
  readonly #options: RunOptions;
  /** Where it runs; null while it waits for a slot. */
  #supervisor: Supervisor | null = null;
  #isCanceled = false;
  /** Made for what can be aborted: most runs have nothing of that kind. */
  #abort: AbortController | null = null;
  #logFields: LogFields | null = null;
  readonly #waiting: (() => void)[] = [];
  /** Output files are read one after the other; while that goes on, what follows them waits here. */
  #fileWork: Promise<void> | null = null;
  #isDispatched = false;
  #isSettled = false;
  #isAnnounced = false;
  #hasFolder = false;

  constructor(options: RunOptions) {
    this.#options = options;
    this.id = options.id;
    this.family = options.family;
    this.stream = options.stream;
    this.record = new RunRecord(options.id);
  }

  get isOver(): boolean {
    return this.record.isOver;
  }

  /** Takes the slot and starts the work. */
  begin(supervisor: Supervisor): void {
    const { schema, input } = this.#options;
    this.#supervisor = supervisor;
    supervisor.take();
    this.record.begin();
    const hasFiles = schema?.fileFields.some((field) => (input[field] ?? null) !== null) ?? false;
    if (hasFiles || supervisor.state !== "ready") void this.#prepare(hasFiles);
    else this.#dispatch(input, {});
  }

  /** Calls back when the run is over. */
  onceOver(callback: () => void): void {
    if (this.#isAnnounced) callback();
    else this.#waiting.push(callback);
  }

  cancel(): void {
    if (this.isOver || this.#isCanceled) return;
    this.#isCanceled = true;
    this.#abort?.abort();
    if (this.#supervisor === null) this.#finish("canceled", null);
    else if (this.#isDispatched && !this.#isSettled) this.#supervisor.cancel(this.#options.number);
  }

  /** Fails a run that waits for a slot which it will not get. */
  giveUp(reason: string): void {
    if (this.#supervisor === null) this.#finish("failed", `[WORKER_DIED] ${reason}`);
  }

  get supervisor(): Supervisor | null {
    return this.#supervisor;
  }

  /** A run that a stream request created is canceled when nobody listens any more. */
  listenerLeft(): void {
    if (this.stream?.isTiedToClients && !this.stream.isWatched) this.cancel();
  }

  receive(message: FromWorker): void {
    switch (message.type) {
      case "log":
        this.#log(message.source, message.data);
        break;
      case "metric":
        this.record.recordMetric(message.name, message.value, message.mode);
        this.stream?.publish("metric", { name: message.name, value: message.value, mode: message.mode });
        break;
      case "chunk":
        this.#afterFiles(message, (value) => this.#addChunk(value));
        break;
      case "stack":
        this.#logLines("cog::worker", message.data, "error");
        break;
      case "end":
        this.#hasFolder ||= message.tempDir === true;
        this.#isSettled ||= message.settled;
        this.#afterFiles(message, (value) => this.#ended(message, value));
        break;
      case "settled":
        this.#settle();
        if (message.tempDir) void this.#removeFolder();
        break;
    }
  }

  lost(reason: string): void {
    this.#hasFolder = true;
    if (this.isOver) {
      this.#settle();
      void this.#removeFolder();
      return;
    }
    this.#isSettled = true;
    const status = this.#isCanceled ? "canceled" : "failed";
    this.#afterFiles({}, () => this.#finish(status, `[WORKER_DIED] ${reason}`));
  }

  /** The input as it may be shown: stripped, completed, secrets masked. */
  get #shownInput(): Readonly<Record<string, unknown>> {
    return this.#options.schema?.masked(this.#options.input) ?? this.#options.input;
  }

  /** What GET answers, as JSON: as a PUT of a run in flight. */
  view(): string {
    return `${this.record.text().slice(0, -1)},"input":${JSON.stringify(this.#shownInput)}}`;
  }

  get #signal(): AbortSignal {
    if (this.#abort === null) {
      this.#abort = new AbortController();
      if (this.#isCanceled) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  get #fields(): LogFields {
    this.#logFields ??= logFieldsOf(this.id, this.#options.traceparent);
    return this.#logFields;
  }

  async #prepare(hasFiles: boolean): Promise<void> {
    const { schema, input, folder, inputFetch, local, userAgent, maxDownloadBytes } = this.#options;
    const signal = this.#signal;
    try {
      await Promise.race([this.#supervisorReady(), aborted(signal)]);
      this.#processing();
      if (!hasFiles) {
        this.#dispatch(input, {});
        return;
      }
      this.#hasFolder = true;
      const files = await fetchInputFiles(input, schema!.fileFields, {
        folder: `${folder}/inputs`,
        fetch: inputFetch,
        local,
        userAgent,
        maxBytes: maxDownloadBytes,
        signal,
      });
      if (this.#isCanceled) throw new Error("canceled");
      if (this.#supervisor!.state !== "ready") throw new Error("the process that runs the model is not there");
      this.#dispatch(files.input, files.names);
    } catch (error) {
      this.#isSettled = true;
      this.#finish(this.#isCanceled ? "canceled" : "failed", textOf(error));
    }
  }

  async #supervisorReady(): Promise<void> {
    const state = await this.#supervisor!.settled();
    if (state !== "ready") throw new Error(`setup failed: ${this.#supervisor!.setup.logs}`);
  }

  #processing(): void {
    if (this.record.status !== "starting") return;
    this.record.status = "processing";
    this.stream?.publish("start", { id: this.id, status: "processing" });
    this.#options.webhook?.send("start", this.record.laterBody());
  }

  #dispatch(input: Readonly<Record<string, unknown>>, names: Readonly<Record<string, string>>): void {
    const { number, id, context, folder } = this.#options;
    const supervisor = this.#supervisor!;
    this.#processing();
    this.#isDispatched = true;
    supervisor.run({ type: "run", run: number, id, input, names, context, tempDir: `${folder}/work` }, this);
    if (this.#isCanceled) supervisor.cancel(number);
  }

  #log(source: "stdout" | "stderr", data: string): void {
    if (this.isOver) return;
    this.record.addLogs(data);
    this.#logLines(`cog::${source}`, data);
    this.stream?.publish("log", { source, data });
    this.#options.webhook?.send("logs", this.record.laterBody());
  }

  #logLines(target: string, data: string, level: LogLevel = "info"): void {
    const fields = this.#fields;
    for (const line of data.replace(/\n$/, "").split("\n")) this.#options.log.write(level, target, line, fields);
  }

  #addChunk(value: unknown): void {
    if (this.isOver) return;
    const index = this.record.addChunk(value);
    this.stream?.publish("output", { chunk: value, index });
    this.#options.webhook?.send("output", this.record.laterBody());
  }

  /** Runs `step` with the value of a message: at once, or when its files and those before it are there. */
  #afterFiles(message: Pick<RunEnd, "value" | "files">, step: (value: unknown) => void): void {
    if (message.files === undefined && this.#fileWork === null) {
      step(message.value);
      return;
    }
    const { uploadUrl, outputFetch, local, id } = this.#options;
    const options = { uploadUrl, fetch: outputFetch, predictionId: id, local: local?.files ?? null };
    const signal = this.#signal;
    const work = (this.#fileWork ?? Promise.resolve()).then(async () => {
      if (this.isOver) return;
      try {
        step(await resolveOutputFiles(message, { ...options, signal }));
      } catch (error) {
        // The author's function may still be running; it has nothing left to deliver to.
        if (!this.#isSettled) this.#supervisor!.cancel(this.#options.number);
        this.#finish(signal.aborted ? "canceled" : "failed", textOf(error));
      }
    });
    this.#fileWork = work;
    void work.then(() => {
      if (this.#fileWork === work) this.#fileWork = null;
    });
  }

  #ended(message: RunEnd, value: unknown): void {
    if (message.status !== "succeeded") {
      this.#finish(message.status, message.error ?? "");
      return;
    }
    // A generator's output is what it yielded; a list is as if its items had been.
    const isGenerator = !("value" in message) && message.files === undefined;
    if (Array.isArray(value)) for (const item of value) this.#addChunk(item);
    else if (!isGenerator && value !== null) this.#addChunk(value);
    const asArray = isGenerator || Array.isArray(value) || this.#options.isArrayOutput;
    if (asArray) this.record.outputIsChunks();
    else this.record.setOutput(value);
    this.#finish("succeeded", null);
  }

  #finish(status: Status, error: string | null): void {
    if (this.isOver) return;
    this.record.end(status, error);
    if (status === "failed") this.#logFailure(error ?? "");
    // Whoever learns of the end finds the run's files gone.
    if (this.#hasFolder) void this.#removeFolder().then(() => this.#announce());
    else this.#announce();
  }

  #logFailure(error: string): void {
    const code = codeOf(error);
    const fields = code === null ? this.#fields : { ...this.#fields, code };
    this.#options.log.info(`the run failed: ${error}`, fields);
  }

  #announce(): void {
    const { webhook, onEnd } = this.#options;
    // The slot is free before anyone learns of the end, so that the next request finds it.
    this.#isAnnounced = true;
    if (this.#isSettled) this.#supervisor?.release();
    if (webhook !== null) this.closed = webhook.complete(() => this.record.text());
    onEnd(this);
    this.stream?.publishText("completed", this.record.text(), true);
    for (const callback of this.#waiting) callback();
  }

  #settle(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    if (this.#isAnnounced) this.#supervisor!.release();
  }

  async #removeFolder(): Promise<void> {
    await rm(this.#options.folder, { recursive: true, force: true, maxRetries: 3 }).catch(() => {});
  }
}

function textOf(error: unknown): string {
  if (isCodedError(error)) return `[${error.code}] ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}

/** The code that the text of an error begins with. */
function codeOf(text: string): ErrorCode | null {
  const code = /^\[([A-Z_]+)\] /.exec(text)?.[1];
  return code !== undefined && Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : null;
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
