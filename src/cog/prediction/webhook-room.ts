export interface WebhookLimits {
  /** COG_MAX_WEBHOOKS: requests under way at a time. */
  readonly requests: number;
  /** COG_WEBHOOK_MEMORY: bytes of events that wait or are under way. */
  readonly bytes: number;
}

interface Waiting {
  readonly origin: string;
  readonly enter: () => void;
}

/** Of the places, those that the requests to one origin may take: one that never answers does not shut out the others. */
const shareOfOrigin = 3 / 4;
/** Of the bytes, those that events before the end of a run may take. */
const shareOfEarlier = 1 / 2;

/** What the webhooks of all runs take together: places for requests under way, and bytes of their events. */
export class WebhookRoom {
  readonly limits: WebhookLimits;
  readonly #mostOfOrigin: number;
  readonly #taken = new Map<string, number>();
  readonly #waiting = new Set<Waiting>();
  #free: number;
  /** Bytes of terminal events, and of earlier ones. */
  readonly #held = { terminal: 0, earlier: 0 };

  constructor(limits: WebhookLimits) {
    this.limits = limits;
    this.#free = limits.requests;
    this.#mostOfOrigin = Math.ceil(limits.requests * shareOfOrigin);
  }

  /** Bytes of events that are kept. */
  get held(): number {
    return this.#held.terminal + this.#held.earlier;
  }

  /** Counts the bytes of an event until `release`; false: they do not fit. A single event may be larger than the limit. */
  hold(bytes: number, kind: "terminal" | "earlier"): boolean {
    const limit = this.limits.bytes;
    const isTooMuch =
      this.held + bytes > limit || (kind === "earlier" && this.#held.earlier + bytes > limit * shareOfEarlier);
    if (isTooMuch && this.held > 0) return false;
    this.#held[kind] += bytes;
    return true;
  }

  release(bytes: number, kind: "terminal" | "earlier"): void {
    this.#held[kind] -= bytes;
  }

  /** Waits in line for a place; resolves with the function that gives it back. Rejects when `signal` is aborted. */
  enter(origin: string, signal?: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        this.#waiting.delete(waiting);
        reject(signal!.reason);
      };
      const waiting: Waiting = {
        origin,
        enter: () => {
          signal?.removeEventListener("abort", giveUp);
          resolve(() => this.#leave(origin));
        },
      };
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      signal?.addEventListener("abort", giveUp, { once: true });
      this.#waiting.add(waiting);
      this.#admit();
    });
  }

  #leave(origin: string): void {
    const left = this.#taken.get(origin)! - 1;
    if (left > 0) this.#taken.set(origin, left);
    else this.#taken.delete(origin);
    this.#free += 1;
    this.#admit();
  }

  #admit(): void {
    for (const waiting of this.#waiting) {
      if (this.#free === 0) return;
      const taken = this.#taken.get(waiting.origin) ?? 0;
      if (taken >= this.#mostOfOrigin) continue;
      this.#waiting.delete(waiting);
      this.#taken.set(waiting.origin, taken + 1);
      this.#free -= 1;
      waiting.enter();
    }
  }
}
