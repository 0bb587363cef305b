import { removeFolder } from "../../temporary/folders.ts";
import type { RunListener } from "../worker/handed-runs.ts";
import type { Lease } from "../worker/lease.ts";
import type { FromWorker, RunEnd } from "../worker/protocol.ts";
import { Secrets } from "../worker/secrets.ts";
import { Cancellation } from "./cancellation.ts";
import { Delivery } from "./delivery.ts";
import type { EventStream } from "./event-stream.ts";
import { hasFiles, type PreparedInput, preparedInput } from "./prepared-input.ts";
import type { RunRecord, Status } from "./record.ts";
import { type Outcome, RunEvents } from "./run-events.ts";
import type { Family, RunOptions } from "./run-options.ts";

/** Who holds the slot, and what is waited for. */
type Phase =
  | { readonly name: "waiting" }
  /** For the worker's setup, and for input files. */
  | { readonly name: "preparing"; readonly lease: Lease }
  /** The author's function was called. */
  | { readonly name: "running"; readonly lease: Lease }
  /** It has ended, or is reported without it: outputs are delivered, the folder is removed. `isSettled`: it has returned. */
  | { readonly name: "delivering"; readonly lease: Lease | null; isSettled: boolean }
  /** Everyone knows the outcome; after its cancel the author's function goes on, in its slot. */
  | { readonly name: "lingering"; readonly lease: Lease }
  | { readonly name: "over" };

/** One prediction or training, from its request to its outcome. */
export class Run implements RunListener {
  readonly id: string;
  readonly family: Family;
  /** Bytes that the request takes while it waits. */
  readonly size: number;
  readonly stream: EventStream | null;
  readonly record: RunRecord;
  /** Resolves when the terminal webhook has been taken or given up; null: there is none, or the run is not over. */
  closed: Promise<void> | null = null;
  readonly #options: RunOptions;
  readonly #events: RunEvents;
  readonly #cancellation = new Cancellation();
  readonly #delivery: Delivery;
  readonly #waiting: (() => void)[] = [];
  #phase: Phase = { name: "waiting" };
  #hasFolder = false;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#events = new RunEvents(options, Secrets.of(options.input, options.schema?.secretFields));
    this.#delivery = new Delivery(options, this.#events, this.#cancellation);
    this.#hasFolder = Object.keys(options.uploads).length > 0;
    this.id = options.id;
    this.size = options.size;
    this.family = options.family;
    this.stream = options.stream;
    this.record = this.#events.record;
  }

  /** Starts the work in a slot, which is the run's from now on. */
  begin(lease: Lease): void {
    this.record.begin();
    const needsFiles = hasFiles(this.#options);
    if (needsFiles || lease.supervisor.state !== "ready") void this.#prepare(lease, needsFiles);
    else this.#call(lease, { input: this.#options.input, names: {} });
  }

  /** Calls back when the run is over. */
  onceOver(callback: () => void): void {
    if (this.#phase.name === "lingering" || this.#phase.name === "over") callback();
    else this.#waiting.push(callback);
  }

  cancel(): void {
    if (this.#cancellation.isRequested) return;
    this.#cancellation.request();
    if (this.#phase.name === "waiting") this.#decide("canceled");
    else if (this.#phase.name === "running") this.#phase.lease.supervisor.cancel(this.#options.number);
  }

  /** Fails a run that waits for a slot which it will not get. */
  giveUp(reason: string): void {
    if (this.#phase.name === "waiting") this.#decide("failed", `[WORKER_DIED] ${reason}`);
  }

  /** A run that a stream request created is canceled when nobody listens any more. */
  listenerLeft(): void {
    if (this.stream?.isTiedToClients && !this.stream.isWatched) this.cancel();
  }

  /** What GET answers, as JSON: as a PUT of a run in flight, with the input stripped, completed, its secrets masked. */
  view(): string {
    const { schema, input } = this.#options;
    return `${this.record.text().slice(0, -1)},"input":${JSON.stringify(schema?.masked(input) ?? input)}}`;
  }

  receive(message: FromWorker): void {
    switch (message.type) {
      case "log":
        this.#events.printed(message);
        break;
      case "metric":
        this.#events.measured(message);
        break;
      case "chunk":
        this.#delivery.item(message);
        break;
      case "stack":
        this.#events.logged("cog::worker", message.data, "error");
        break;
      case "end":
        this.#ended(message);
        break;
      case "settled":
        this.#settled(message.tempDir === true);
        break;
    }
  }

  lost(reason: string): void {
    if (this.#phase.name !== "running") this.#settled(true);
    else {
      const status = this.#cancellation.isRequested ? "canceled" : "failed";
      const error = `[WORKER_DIED] ${reason}`;
      this.#ended({ type: "end", run: this.#options.number, status, error, settled: true, tempDir: true });
    }
  }

  async #prepare(lease: Lease, needsFiles: boolean): Promise<void> {
    this.#phase = { name: "preparing", lease };
    this.#hasFolder ||= needsFiles;
    try {
      this.#call(lease, await preparedInput(this.#options, lease.supervisor, this.#events, this.#cancellation));
    } catch (error) {
      this.#decide(this.#cancellation.isRequested ? "canceled" : "failed", error);
    }
  }

  /** Calls the author's function. */
  #call(lease: Lease, given: PreparedInput): void {
    const { number, id, context, folder, schema } = this.#options;
    this.#events.started();
    this.#phase = { name: "running", lease };
    const secrets = schema?.secretFields ?? [];
    lease.supervisor.run({ type: "run", run: number, id, ...given, secrets, context, tempDir: `${folder}/work` }, this);
  }

  #ended(end: RunEnd): void {
    if (this.#phase.name !== "running") return;
    this.#phase = { name: "delivering", lease: this.#phase.lease, isSettled: end.settled };
    this.#hasFolder ||= end.tempDir === true;
    this.#delivery.last(end, (value, failure) => {
      if (end.status !== "succeeded") this.#decide(end.status, end.error);
      else if (failure !== null) this.#decide(this.#cancellation.isRequested ? "canceled" : "failed", failure);
      else {
        // A generator returns nothing: its output is what it yielded.
        if ("value" in end) this.#events.returned(value, this.#options.isArrayOutput);
        else this.record.outputIsChunks();
        this.#decide("succeeded");
      }
    });
  }

  #decide(status: Status, error?: unknown): void {
    const phase = this.#phase;
    if (phase.name !== "delivering") {
      this.#phase = { name: "delivering", lease: "lease" in phase ? phase.lease : null, isSettled: true };
    }
    const outcome = { status, error, predictTime: this.record.elapsed };
    // Whoever learns of the end finds the run's files gone.
    if (this.#hasFolder) void this.#removeFolder().then(() => this.#announce(outcome));
    else this.#announce(outcome);
  }

  #announce(outcome: Outcome): void {
    if (this.#phase.name !== "delivering") return;
    const { webhook, onEnd } = this.#options;
    const { lease, isSettled } = this.#phase;
    this.#phase = lease === null || isSettled ? { name: "over" } : { name: "lingering", lease };
    // The slot is free before anyone learns of the end, so that the next request finds it.
    if (isSettled) lease?.release();
    this.#events.ended(outcome);
    if (webhook !== null) this.closed = webhook.complete(() => this.record.text());
    onEnd(this);
    this.#events.completed();
    for (const callback of this.#waiting) callback();
  }

  /** The author's function has returned, or its process is gone. */
  #settled(mayHaveFolder: boolean): void {
    const phase = this.#phase;
    this.#hasFolder ||= mayHaveFolder;
    if (phase.name === "delivering") phase.isSettled = true;
    if (phase.name !== "lingering") return;
    this.#phase = { name: "over" };
    void this.#removeFolder().then(() => phase.lease.release());
  }

  #removeFolder(): Promise<void> {
    return removeFolder(this.#options.folder);
  }
}
