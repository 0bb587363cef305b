import { type ErrorCode, errorCodes } from "../../errors/index.ts";
import type { Log, LogFields, LogLevel } from "../log.ts";
import { errorText } from "../worker/errors.ts";
import { maskedError } from "../worker/outgoing.ts";
import type { FromWorker } from "../worker/protocol.ts";
import type { Secrets } from "../worker/secrets.ts";
import type { EventStream } from "./event-stream.ts";
import { logFieldsOf } from "./log-fields.ts";
import { RunRecord, type Status } from "./record.ts";
import type { Webhook } from "./webhook.ts";

export interface Audience {
  readonly id: string;
  /** null: the run offers none. */
  readonly stream: EventStream | null;
  readonly webhook: Webhook | null;
  readonly log: Log;
  /** Of the request, for the log. */
  readonly traceparent: string | undefined;
}

export interface Outcome {
  readonly status: Status;
  /** Of a run that failed. */
  readonly error: unknown;
  /** In seconds. */
  readonly predictTime: number;
}

/** What happens in one run, told to its record, its stream, its webhook and the server's log. */
export class RunEvents {
  readonly record: RunRecord;
  readonly #audience: Audience;
  readonly #secrets: Secrets;
  #logFields: LogFields | null = null;

  constructor(audience: Audience, secrets: Secrets) {
    this.#audience = audience;
    this.#secrets = secrets;
    this.record = new RunRecord(audience.id);
  }

  started(): void {
    const { id, stream, webhook } = this.#audience;
    if (this.record.status !== "starting") return;
    this.record.status = "processing";
    stream?.publish("start", { id, status: "processing" });
    webhook?.send("start", this.record.laterBody());
  }

  printed({ source, data }: Extract<FromWorker, { type: "log" }>): void {
    if (this.record.isOver) return;
    this.record.addLogs(data);
    this.logged(`cog::${source}`, data);
    this.#audience.stream?.publish("log", { source, data });
    this.#audience.webhook?.send("logs", this.record.laterBody());
  }

  /** For the server's log alone. */
  logged(target: string, data: string, level: LogLevel = "info"): void {
    const fields = this.#fields;
    for (const line of data.replace(/\n$/, "").split("\n")) this.#audience.log.write(level, target, line, fields);
  }

  measured({ name, value, mode }: Extract<FromWorker, { type: "metric" }>): void {
    this.record.recordMetric(name, value, mode);
    this.#audience.stream?.publish("metric", { name, value, mode }, mode === "replace" ? name : undefined);
  }

  yielded(value: unknown): void {
    if (this.record.isOver) return;
    const index = this.record.addChunk(value);
    this.#audience.stream?.publish("output", { chunk: value, index });
    this.#audience.webhook?.send("output", this.record.laterBody());
  }

  /** The output of an author's function that is no generator; a list is as if its items had been yielded. */
  returned(value: unknown, isArray: boolean): void {
    if (Array.isArray(value)) for (const item of value) this.yielded(item);
    else if (value !== null) this.yielded(value);
    if (isArray || Array.isArray(value)) this.record.outputIsChunks();
    else this.record.setOutput(value);
  }

  /** The outcome, which is final; `predictTime` in seconds. */
  ended({ status, error, predictTime }: Outcome): void {
    // Of a file, say, whose address holds a secret.
    const text = error === undefined ? "" : maskedError(errorText(error), this.#secrets);
    this.record.end(status, text, predictTime);
    if (status !== "failed") return;
    const code = codeOf(text);
    this.#audience.log.info(`the run failed: ${text}`, code === null ? this.#fields : { ...this.#fields, code });
  }

  /** Everyone may know: the stream's last event. */
  completed(): void {
    this.#audience.stream?.publishText("completed", this.record.text(), true);
  }

  get #fields(): LogFields {
    this.#logFields ??= logFieldsOf(this.#audience.id, this.#audience.traceparent);
    return this.#logFields;
  }
}

/** The code that the text of an error begins with. */
function codeOf(text: string): ErrorCode | null {
  const code = /^\[([A-Z_]+)\] /.exec(text)?.[1];
  return code !== undefined && Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : null;
}
