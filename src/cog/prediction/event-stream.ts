/** What a stream's client gets; `last` ends the stream. */
export type Subscriber = (text: string, last: boolean) => void;

const mostSubscribers = 1024;

/** The server-sent events of one run: the latest are kept for those who come late. */
export class EventStream {
  /** The run was created by a stream request: it is canceled when nobody listens any more. */
  isTiedToClients = false;
  readonly #capacity: number;
  readonly #subscribers = new Set<Subscriber>();
  #kept: string[] = [];
  /** Events that are in #kept before this index are dropped ones, not yet cut off. */
  #first = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get isWatched(): boolean {
    return this.#subscribers.size > 0;
  }

  publish(name: string, data: object, last = false): void {
    if (this.#capacity === 0 && this.#subscribers.size === 0) return;
    const text = eventText(name, data);
    if (this.#capacity > 0) this.#keep(text);
    for (const subscriber of this.#subscribers) subscriber(text, last);
  }

  /** Replays what has been kept, then goes on live. False when there are too many already. */
  subscribe(subscriber: Subscriber): boolean {
    if (this.#subscribers.size >= mostSubscribers) return false;
    if (this.#dropped > 0) {
      subscriber(eventText("error", { error: "replay truncated", skipped: this.#dropped }), true);
      return true;
    }
    if (this.#kept.length > 0) subscriber(this.#kept.join(""), false);
    this.#subscribers.add(subscriber);
    return true;
  }

  unsubscribe(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
  }

  get #dropped(): number {
    return this.#cut + this.#first;
  }

  #cut = 0;

  #keep(text: string): void {
    this.#kept.push(text);
    if (this.#kept.length - this.#first <= this.#capacity) return;
    this.#kept[this.#first] = "";
    this.#first += 1;
    // Cut off in large steps: moving the rest at every event would cost more than the event.
    if (this.#first < this.#capacity) return;
    this.#kept = this.#kept.slice(this.#first);
    this.#cut += this.#first;
    this.#first = 0;
  }
}

export function eventText(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
