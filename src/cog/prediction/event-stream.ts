/** Gets what a stream's client gets; `last` ends the stream. */
export type Subscriber = (text: string, last: boolean) => void;

export interface Subscription {
  /** Each event carries its number as `id`, so that a client can come back and go on. Cog's own streams have none. */
  readonly isNumbered?: boolean;
  /** The number of the last event that the client has; 0: none. */
  readonly after?: number;
}

const mostSubscribers = 1024;
/** Of all events kept of one run, in UTF-16 units: a model may log megabytes a line. */
const mostKept = 64 * 1024 * 1024;

/** The server-sent events of one run, numbered from 1: the latest are kept for those who come late. */
export class EventStream {
  /** The run was created by a stream request: it is canceled when nobody listens any more. */
  isTiedToClients = false;
  readonly #capacity: number;
  /** And whether they want numbers. */
  readonly #subscribers = new Map<Subscriber, boolean>();
  #kept: string[] = [];
  /** Events that are in #kept before this index are dropped ones, not yet cut off. */
  #first = 0;
  #size = 0;
  #count = 0;
  #isOver = false;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get isWatched(): boolean {
    return this.#subscribers.size > 0;
  }

  /** Of what is kept, in UTF-16 units. */
  get size(): number {
    return this.#size;
  }

  publish(name: string, data: object): void {
    // Most runs are not listened to, and have no history.
    if (this.#capacity > 0 || this.#subscribers.size > 0) this.publishText(name, JSON.stringify(data));
    else this.#count += 1;
  }

  /** The same with the data as JSON. `last` ends the stream. */
  publishText(name: string, json: string, last = false): void {
    this.#count += 1;
    this.#isOver ||= last;
    // Where no history is wanted the end alone is kept, for those who ask after it.
    const isKept = this.#capacity > 0 || last;
    if (!isKept && this.#subscribers.size === 0) return;
    const text = textOf(name, json);
    if (isKept) this.#keep(text);
    for (const [subscriber, isNumbered] of this.#subscribers) {
      subscriber(isNumbered ? numbered(text, this.#count) : text, last);
    }
  }

  /** Replays what has been kept, then goes on live. False when there are too many already. */
  subscribe(subscriber: Subscriber, { isNumbered = false, after = 0 }: Subscription = {}): boolean {
    if (this.#subscribers.size >= mostSubscribers) return false;
    const dropped = this.#count - (this.#kept.length - this.#first);
    const skipped = this.#capacity === 0 ? 0 : dropped - after;
    if (skipped > 0) {
      subscriber(eventText("error", { error: "replay truncated", skipped }), true);
      return true;
    }
    const from = this.#first + Math.max(0, after - dropped);
    const texts = this.#kept.slice(from);
    const replay = isNumbered
      ? texts.map((text, index) => numbered(text, dropped + from - this.#first + index + 1))
      : texts;
    if (replay.length > 0 || this.#isOver) subscriber(replay.join(""), this.#isOver);
    if (!this.#isOver) this.#subscribers.set(subscriber, isNumbered);
    return true;
  }

  unsubscribe(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
  }

  #keep(text: string): void {
    this.#kept.push(text);
    this.#size += text.length;
    while (this.#kept.length - this.#first > Math.max(1, this.#capacity)) this.#drop();
    while (this.#size > mostKept && this.#kept.length - this.#first > 1) this.#drop();
    // Cut off in large steps: moving the rest at every event would cost more than the event.
    if (this.#first < this.#capacity) return;
    this.#kept = this.#kept.slice(this.#first);
    this.#first = 0;
  }

  #drop(): void {
    this.#size -= this.#kept[this.#first]!.length;
    this.#kept[this.#first] = "";
    this.#first += 1;
  }
}

export function eventText(name: string, data: object): string {
  return textOf(name, JSON.stringify(data));
}

function textOf(name: string, json: string): string {
  return `event: ${name}\ndata: ${json}\n\n`;
}

function numbered(text: string, number: number): string {
  return `id: ${number}\n${text}`;
}
