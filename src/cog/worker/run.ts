import { format } from "node:util";
import { endsProcess, isCodedError } from "../../errors/index.ts";
import { makeFolder } from "../../temporary/folders.ts";
import { contexts, type MetricMode, type MetricValue, type PredictionContext } from "../schema/context.ts";
import type { Predictor } from "../schema/predictor.ts";
import { answeredError } from "./answered-error.ts";
import { stackText } from "./errors.ts";
import { toAuthorInput } from "./input.ts";
import { LineBuffer } from "./logs.ts";
import { MetricRules } from "./metrics.ts";
import { toJson } from "./output.ts";
import type { FromWorker, RunEnd, RunRequest } from "./protocol.ts";
import type { Secrets } from "./secrets.ts";

/** A generator that never waits would keep cancels and health checks out. */
const longestTurnMs = 5;

type Send = (message: FromWorker) => void;
type Outcome = Omit<RunEnd, "type" | "run" | "settled" | "tempDir">;

export interface WorkerRunOptions {
  readonly secrets: Secrets;
  readonly send: Send;
  /** After a cancel, how long an author's function may go on before the run is reported without it. */
  readonly cancelGraceMs: number;
}

/** One prediction or training inside the worker: calls the author's function and reports what comes of it. */
export class WorkerRun {
  readonly logs: LineBuffer;
  readonly #request: RunRequest;
  readonly #send: Send;
  readonly #cancelGraceMs: number;
  readonly #abort = new AbortController();
  readonly #metrics = new MetricRules();
  #generator: AsyncIterator<unknown> | Iterator<unknown> | null = null;
  #canceled = false;
  #ended = false;
  #endsProcess = false;
  #folder: { tempDir?: true } = {};
  #failFast: (error: unknown) => void = () => {};

  constructor(request: RunRequest, { secrets, send, cancelGraceMs }: WorkerRunOptions) {
    this.#request = request;
    this.#send = send;
    this.#cancelGraceMs = cancelGraceMs;
    this.logs = new LineBuffer(secrets, (source, data) => send({ type: "log", run: request.run, source, data }));
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Has it failed with an error after which this process is of no use? */
  get endsProcess(): boolean {
    return this.#endsProcess;
  }

  /** Resolves when the author's function has ended; never rejects. */
  async execute(predictor: Predictor, model: unknown): Promise<void> {
    const context = this.#context(model);
    const failed = new Promise<never>((_, reject) => {
      this.#failFast = reject;
    });
    const work = contexts.run(context, () => this.#call(predictor, context));
    let outcome: Outcome;
    try {
      outcome = await Promise.race([work, failed]);
    } catch (error) {
      outcome = this.#failure(error);
      work.catch(() => {});
    }
    failed.catch(() => {});
    if (this.#ended) {
      this.logs.flush();
      this.#send({ type: "settled", run: this.#request.run, ...this.#folder });
    } else this.#end(this.#canceled ? { status: "canceled" } : outcome, true);
  }

  cancel(): void {
    if (this.#abort.signal.aborted || this.#ended) return;
    this.#canceled = true;
    this.#abort.abort(new DOMException("The prediction was canceled", "AbortError"));
    try {
      // Its promise may be a rejection of the author's `finally`; the run is canceled either way.
      void Promise.resolve(this.#generator?.return?.()).catch(() => {});
    } catch {
      // A plain generator that is running right now refuses; the loop sees the signal.
    }
    setTimeout(() => this.#end({ status: "canceled" }, false), this.#cancelGraceMs).unref();
  }

  /** Fails the run for what happened outside its promise: an uncaught exception, process.exit(). */
  fail(error: unknown): void {
    this.#failFast(error);
    if (!this.#abort.signal.aborted) this.#abort.abort(error);
  }

  async #call(predictor: Predictor, context: PredictionContext): Promise<Outcome> {
    const { input, names } = this.#request;
    const returned = await predictor.run(toAuthorInput(predictor.inputs, input, names), context);
    const iterator = iteratorOf(returned, predictor);
    if (iterator === null) return { status: "succeeded", ...encoded(returned) };
    this.#generator = iterator;
    let turn = performance.now();
    while (!this.#abort.signal.aborted) {
      const step = await iterator.next();
      if (step.done) return { status: "succeeded" };
      if (!this.#ended)
        this.#send({ type: "chunk", run: this.#request.run, ...(encoded(step.value) as { value: unknown }) });
      if (performance.now() - turn > longestTurnMs) {
        await new Promise(setImmediate);
        turn = performance.now();
      }
    }
    await iterator.return?.();
    return { status: "canceled" };
  }

  #failure(error: unknown): Outcome {
    this.#endsProcess = isCodedError(error) && endsProcess.has(error.code);
    const stack = stackText(error);
    if (stack !== null && !this.#canceled) this.#send({ type: "stack", run: this.#request.run, data: stack });
    return { status: "failed", error: answeredError(error, this.#request.tempDir) };
  }

  #end(outcome: Outcome, settled: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.logs.flush();
    this.#send({ type: "end", run: this.#request.run, settled, ...outcome, ...this.#folder });
  }

  #context(model: unknown): PredictionContext {
    const { id, context, tempDir, run, input } = this.#request;
    const send = (name: string, value: unknown, mode: MetricMode) => {
      if (!this.#ended) this.#send({ type: "metric", run, name, value, mode });
    };
    const ownFolder = () => {
      if (!this.#folder.tempDir) makeFolder(tempDir);
      this.#folder = { tempDir: true };
      return tempDir;
    };
    return {
      model,
      id,
      given: new Set(Object.keys(input).filter((name) => input[name] !== null)),
      context,
      signal: this.#abort.signal,
      recordMetric: (name: string, value: MetricValue, mode: MetricMode = "replace") => {
        this.#metrics.check(name, value, mode);
        if (typeof value !== "number" || Number.isFinite(value)) send(name, toJson(value).value, mode);
      },
      deleteMetric: (name) => {
        this.#metrics.delete(name);
        send(name, null, "replace");
      },
      log: (...values) => this.logs.write("stdout", `${format(...values)}\n`),
      get tempDir() {
        return ownFolder();
      },
    };
  }
}

function encoded(value: unknown): Pick<RunEnd, "value" | "files"> {
  const json = toJson(value);
  return json.files.length > 0 ? json : { value: json.value };
}

/** Generators are followed; of other iterables only what was declared as one, since a Set or a text is a value. */
function iteratorOf(value: unknown, predictor: Predictor): AsyncIterator<unknown> | Iterator<unknown> | null {
  if (typeof value !== "object" || value === null) return null;
  if (Symbol.asyncIterator in value) return (value as AsyncIterable<unknown>)[Symbol.asyncIterator]();
  if (Array.isArray(value) || !(Symbol.iterator in value)) return null;
  const declared = predictor.output.kind === "iterator" || predictor.output.kind === "concatenateIterator";
  const isGenerator = Object.prototype.toString.call(value) === "[object Generator]";
  return declared || isGenerator ? (value as Iterable<unknown>)[Symbol.iterator]() : null;
}
