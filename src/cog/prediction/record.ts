import type { MetricMode } from "../schema/context.ts";
import { Metrics } from "./metrics.ts";

export type Status = "starting" | "processing" | "succeeded" | "failed" | "canceled";

/** The longest log that is kept of one run, in UTF-16 units. */
const longestLogs = 64 * 1024 * 1024;

/** What has come of a run so far, and how Cog shows it. */
export class RunRecord {
  status: Status = "starting";
  readonly id: string;
  #started = performance.now();
  readonly #chunks: unknown[] = [];
  readonly #metrics = new Metrics();
  #logs = "";
  #output: unknown;
  #error: string | null = null;
  #predictTime: number | null = null;
  /** Of a run that is over, for all who want it. */
  #text: string | null = null;

  constructor(id: string) {
    this.id = id;
  }

  /** The run has its slot: its time counts from now. */
  begin(): void {
    this.#started = performance.now();
  }

  /** Seconds; null while the run is not over. */
  get predictTime(): number | null {
    return this.#predictTime;
  }

  get isOver(): boolean {
    return this.#predictTime !== null;
  }

  /** Returns the chunk's index. */
  addChunk(value: unknown): number {
    return this.#chunks.push(value) - 1;
  }

  addLogs(data: string): void {
    if (this.#logs.length < longestLogs) this.#logs += data;
  }

  recordMetric(name: string, value: unknown, mode: MetricMode): void {
    this.#metrics.record(name, value, mode);
  }

  /** Dotted names and values of the metrics that are numbers, at most `most` of them. */
  numericMetrics(most: number): [name: string, value: number][] {
    return this.#metrics.numbers(most);
  }

  /** The chunks are the output, as of a generator. */
  outputIsChunks(): void {
    this.#output = [...this.#chunks];
  }

  setOutput(value: unknown): void {
    this.#output = value;
  }

  /** Seconds since begin(). */
  get elapsed(): number {
    return (performance.now() - this.#started) / 1000;
  }

  /** `predictTime` in seconds: the end may be told later than it came. */
  end(status: Status, error: string | null, predictTime: number): void {
    this.status = status;
    this.#predictTime = predictTime;
    if (status === "failed") this.#error = error || "the prediction failed";
  }

  /** Cog's view of the moment, as JSON: answers to PUT, webhooks, the stream's last event. */
  text(): string {
    if (!this.isOver) return JSON.stringify(this.#snapshot());
    this.#text ??= JSON.stringify(this.#snapshot());
    return this.#text;
  }

  #snapshot(): Record<string, unknown> {
    return this.#view(this.#chunks.length, this.#logs.length, this.#metrics.snapshot(this.#predictTime));
  }

  /** A webhook's body: written when its turn comes, but telling of now. For runs that are not over. */
  laterBody(): () => string {
    const { status } = this;
    const chunks = this.#chunks.length;
    const logs = this.#logs.length;
    const metrics = this.#metrics.snapshot(null);
    return () => JSON.stringify({ ...this.#view(chunks, logs, metrics, false), status });
  }

  /** The body of a sync answer: it has an output only where the run succeeded. */
  answer(): string {
    if (this.status === "succeeded") return this.text();
    const { output: _, ...answer } = this.#snapshot();
    return JSON.stringify(answer);
  }

  #view(chunks: number, logs: number, metrics: object, isNow = true): Record<string, unknown> {
    const view: Record<string, unknown> = { id: this.id, status: this.status };
    if (isNow && this.status === "succeeded") view.output = this.#output;
    else if (chunks > 0) view.output = this.#chunks.slice(0, chunks);
    if (isNow && this.status === "failed") view.error = this.#error;
    view.logs = this.#logs.slice(0, logs);
    view.metrics = metrics;
    return view;
  }
}
