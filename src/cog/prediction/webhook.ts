import { setTimeout as sleep } from "node:timers/promises";
import { type Fetch, RefusedUrl } from "../files/network.ts";
import type { Log, LogFields } from "../log.ts";
import { originOf } from "../settings.ts";
import type { WebhookRoom } from "./webhook-room.ts";

export const webhookEvents = ["start", "output", "logs", "completed"] as const;
export type WebhookEvent = (typeof webhookEvents)[number];
type EarlierEvent = Exclude<WebhookEvent, "completed">;

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
  /** Shared by the webhooks of all runs. */
  readonly room: WebhookRoom;
}

/** Of an event that waits for its turn: its body is not made yet. */
interface Queued {
  readonly event: EarlierEvent;
  readonly body: () => string;
}

/** Retries of the terminal event. */
const mostAttempts = 13;
const retried = new Set([429, 500, 502, 503, 504]);
const requestLimitMs = 30_000;
/** Once the run is over, how long earlier events may hold up the terminal one. */
const backlogLimitMs = 5000;
/** What an event counts for that waits for its turn, in bytes. */
const queuedBytes = 1024;

/**
 * Sends one run's events to its webhook: in order, `completed` last and until it has been taken. Where there is no room for
 * an event it is left out, which the log tells.
 */
export class Webhook {
  readonly #options: WebhookOptions;
  readonly #origin: string;
  readonly #queue: Queued[] = [];
  #lastSend = Number.NEGATIVE_INFINITY;
  #sending: Promise<void> | null = null;
  #hasWarned = false;
  readonly #abortBacklog = new AbortController();

  constructor(options: WebhookOptions) {
    this.#options = options;
    this.#origin = originOf(options.url) ?? "";
  }

  /** `body` is asked for when its turn comes; it must describe the moment of this call. */
  send(event: EarlierEvent, body: () => string): void {
    const { events, intervalMs, room } = this.#options;
    if (!events.has(event)) return;
    const now = performance.now();
    if (event !== "output" && now - this.#lastSend < intervalMs) return;
    if (!room.hold(queuedBytes, "earlier")) {
      this.#leftOut(event);
      return;
    }
    this.#lastSend = now;
    this.#queue.push({ event, body });
    this.#sending ??= this.#work();
  }

  /** Delivers the terminal event; resolves when it has been taken, given up, or is not asked for. */
  complete(body: () => string): Promise<void> {
    const { events, room, log, logFields } = this.#options;
    const text = events.has("completed") ? body() : null;
    const bytes = text === null ? 0 : Buffer.byteLength(text);
    const timer = setTimeout(() => this.#abortBacklog.abort(), backlogLimitMs);
    const earlier = (this.#sending ?? Promise.resolve()).then(() => clearTimeout(timer));
    if (text === null) return earlier;
    if (!room.hold(bytes, "terminal")) {
      log.error(`the terminal webhook is given up: ${this.#noRoom}`, logFields);
      return earlier;
    }
    // Not a function that waits: it would keep the run for as long as the receiver takes.
    return earlier.then(() => this.#deliver(text)).finally(() => room.release(bytes, "terminal"));
  }

  async #deliver(text: string): Promise<void> {
    const { room, log, logFields } = this.#options;
    for (let attempt = 1; ; attempt++) {
      const leave = await room.enter(this.#origin);
      const status = await this.#post(text).finally(leave);
      if (status === "refused") break;
      if (status !== null && !retried.has(status)) {
        if (status > 299) log.warn(`the webhook answered the terminal event with status ${status}`, logFields);
        return;
      }
      if (attempt === mostAttempts) break;
      await sleep(100 * 2 ** Math.min(attempt, 10), undefined, { ref: false });
    }
    log.error("the terminal webhook could not be delivered", logFields);
  }

  async #work(): Promise<void> {
    const { room, log, logFields } = this.#options;
    const { signal } = this.#abortBacklog;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      await this.#sendEarlier(next, signal);
      if (signal.aborted) break;
    }
    if (this.#queue.length > 0) {
      log.warn(`${this.#queue.length} events of the webhook are left out: the run is over`, logFields);
      room.release(this.#queue.length * queuedBytes, "earlier");
    }
    this.#queue.length = 0;
    this.#sending = null;
  }

  async #sendEarlier({ event, body }: Queued, signal: AbortSignal): Promise<void> {
    const { room, log, logFields } = this.#options;
    const leave = await room.enter(this.#origin, signal).catch(() => null);
    room.release(queuedBytes, "earlier");
    if (leave === null) {
      log.warn(`the webhook's event "${event}" is left out: the run is over`, logFields);
      return;
    }
    let held = 0;
    try {
      const text = body();
      const bytes = Buffer.byteLength(text);
      if (!room.hold(bytes, "earlier")) {
        this.#leftOut(event);
        return;
      }
      held = bytes;
      await this.#post(text, signal);
    } finally {
      room.release(held, "earlier");
      leave();
    }
  }

  /** Once for a run: there may be one of each token. */
  #leftOut(event: EarlierEvent): void {
    const { log, logFields } = this.#options;
    if (!this.#hasWarned) log.warn(`the webhook's event "${event}" is left out: ${this.#noRoom}`, logFields);
    this.#hasWarned = true;
  }

  get #noRoom(): string {
    const { held, limits } = this.#options.room;
    return `webhooks hold ${held} of ${limits.bytes} bytes (COG_WEBHOOK_MEMORY)`;
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
