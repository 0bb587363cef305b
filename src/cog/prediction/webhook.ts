import { setTimeout as sleep } from "node:timers/promises";
import { type Fetch, RefusedUrl } from "../files/network.ts";
import type { Log, LogFields } from "../log.ts";

export const webhookEvents = ["start", "output", "logs", "completed"] as const;
export type WebhookEvent = (typeof webhookEvents)[number];

export interface WebhookOptions {
  readonly url: string;
  readonly events: ReadonlySet<WebhookEvent>;
  /** Least time between a non-terminal send and a following `logs` or `start`, in milliseconds. */
  readonly intervalMs: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly fetch: Fetch;
  readonly log: Log;
  /** Whose webhook it is. */
  readonly logFields: LogFields;
  readonly backlog: Backlog;
}

/** Terminal events that wait for their next attempt, of all runs of a server. */
export interface Backlog {
  /** UTF-16 units. */
  size: number;
}

/** Retries of the terminal event. */
const mostAttempts = 13;
const retried = new Set([429, 500, 502, 503, 504]);
const requestLimitMs = 30_000;
/** A server that is told of receivers that never answer must not keep everything for them. */
const largestBacklog = 64 * 1024 * 1024;
/** Once the run is over, how long earlier events may hold up the terminal one. */
const backlogLimitMs = 5000;

/** Sends one run's events to its webhook: in order, `completed` last and until it has been taken. */
export class Webhook {
  readonly #options: WebhookOptions;
  readonly #queue: (() => string)[] = [];
  #lastSend = Number.NEGATIVE_INFINITY;
  #sending: Promise<void> | null = null;
  readonly #abortBacklog = new AbortController();

  constructor(options: WebhookOptions) {
    this.#options = options;
  }

  /** `body` is asked for when its turn comes; it must describe the moment of this call. */
  send(event: Exclude<WebhookEvent, "completed">, body: () => string): void {
    const { events, intervalMs } = this.#options;
    if (!events.has(event)) return;
    const now = performance.now();
    if (event !== "output" && now - this.#lastSend < intervalMs) return;
    this.#lastSend = now;
    this.#queue.push(body);
    this.#sending ??= this.#work();
  }

  /** Delivers the terminal event; resolves when it has been taken, given up, or is not asked for. */
  complete(body: () => string): Promise<void> {
    const timer = setTimeout(() => this.#abortBacklog.abort(), backlogLimitMs);
    // Not a function that waits: it would keep the run for as long as the receiver takes.
    return (this.#sending ?? Promise.resolve()).then(() => {
      clearTimeout(timer);
      return this.#options.events.has("completed") ? this.#deliver(body()) : undefined;
    });
  }

  async #deliver(text: string): Promise<void> {
    const { log, logFields, backlog } = this.#options;
    for (let attempt = 1; ; attempt++) {
      const status = await this.#post(text);
      if (status === "refused") break;
      if (status !== null && !retried.has(status)) {
        if (status > 299) log.warn(`the webhook answered the terminal event with status ${status}`, logFields);
        return;
      }
      if (attempt === mostAttempts) break;
      if (backlog.size + text.length > largestBacklog) {
        log.error("too much waits for webhooks that do not answer", logFields);
        break;
      }
      backlog.size += text.length;
      await sleep(100 * 2 ** Math.min(attempt, 10), undefined, { ref: false });
      backlog.size -= text.length;
    }
    log.error("the terminal webhook could not be delivered", logFields);
  }

  async #work(): Promise<void> {
    for (let body = this.#queue.shift(); body !== undefined; body = this.#queue.shift()) {
      if (this.#abortBacklog.signal.aborted) break;
      await this.#post(body(), this.#abortBacklog.signal);
    }
    this.#queue.length = 0;
    this.#sending = null;
  }

  /** The answer's status; null where there was none, "refused" where there never will be one. */
  async #post(body: string, signal?: AbortSignal): Promise<number | "refused" | null> {
    const { url, headers, fetch, log, logFields } = this.#options;
    const limit = AbortSignal.timeout(requestLimitMs);
    try {
      const answer = await fetch(url, {
        method: "POST",
        headers: { ...headers, "content-type": "application/json" },
        body,
        signal: signal === undefined ? limit : AbortSignal.any([limit, signal]),
      });
      await answer.body.dump();
      return answer.status;
    } catch (error) {
      log.warn(`webhook: ${(error as Error).message}`, logFields);
      return error instanceof RefusedUrl ? "refused" : null;
    }
  }
}
