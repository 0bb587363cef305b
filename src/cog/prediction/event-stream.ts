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

interface Kept {
  readonly number: number;
  /** "" once it was dropped or superseded. */
  text: string;
  readonly replaces: string | undefined;
}

/**
 * The server-sent events of one run, numbered from 1: the latest are kept for those who come late. Of events that replace
 * each other (a metric's values) the last one is enough for them: a run that measures often keeps its history.
 */
export class EventStream {
  /** The run was created by a stream request: it is canceled when nobody listens any more. */
  isTiedToClients = false;
  readonly #capacity: number;
  /** And whether they want numbers. */
  readonly #subscribers = new Map<Subscriber, boolean>();
  #kept: Kept[] = [];
  /** Of those with a text, the first one is not before this index. */
  #first = 0;
  /** Of those with a text. */
  #length = 0;
  /** By what they replace. */
  readonly #latest = new Map<string, Kept>();
  #lastDropped = 0;
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

  /** Those who come late get the last event of all that have the same `replaces`. */
  publish(name: string, data: object, replaces?: string): void {
    if (this.#isWanted(false)) this.#publish(textOf(name, JSON.stringify(data)), replaces);
    else this.#count += 1;
  }

  /** The same with the data as JSON, of an event that stays. `last` ends the stream. */
  publishText(name: string, json: string, last = false): void {
    this.#isOver ||= last;
    if (this.#isWanted(last)) this.#publish(textOf(name, json), undefined, last);
    else this.#count += 1;
  }

  /** Replays what has been kept, then goes on live. False when there are too many already. */
  subscribe(subscriber: Subscriber, { isNumbered = false, after = 0 }: Subscription = {}): boolean {
    if (this.#subscribers.size >= mostSubscribers) return false;
    const skipped = this.#lastDropped - after;
    if (skipped > 0) {
      subscriber(eventText("error", { error: "replay truncated", skipped }), true);
      return true;
    }
    const replay = this.#kept
      .filter(({ number, text }) => number > after && text !== "")
      .map(({ number, text }) => (isNumbered ? numbered(text, number) : text));
    if (replay.length > 0 || this.#isOver) subscriber(replay.join(""), this.#isOver);
    if (!this.#isOver) this.#subscribers.set(subscriber, isNumbered);
    return true;
  }

  unsubscribe(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
  }

  /** Whether an event needs its text: most runs are not listened to, and have no history. */
  #isWanted(last: boolean): boolean {
    return this.#isKept(last) || this.#subscribers.size > 0;
  }

  /** Where no history is wanted the end alone is kept, for those who ask after it. */
  #isKept(last: boolean): boolean {
    return this.#capacity > 0 || last;
  }

  #publish(text: string, replaces?: string, last = false): void {
    this.#count += 1;
    if (this.#isKept(last)) this.#keep({ number: this.#count, text, replaces });
    for (const [subscriber, isNumbered] of this.#subscribers) {
      subscriber(isNumbered ? numbered(text, this.#count) : text, last);
    }
  }

  #keep(event: Kept): void {
    this.#kept.push(event);
    this.#length += 1;
    this.#size += event.text.length;
    if (event.replaces !== undefined) {
      const before = this.#latest.get(event.replaces);
      if (before !== undefined) this.#forget(before);
      this.#latest.set(event.replaces, event);
    }
    while (this.#length > Math.max(1, this.#capacity)) this.#drop();
    while (this.#size > mostKept && this.#length > 1) this.#drop();
    // Cut off in large steps: moving the rest at every event would cost more than the event.
    if (this.#kept.length < 2 * this.#length + 64) return;
    this.#kept = this.#kept.filter(({ text }) => text !== "");
    this.#first = 0;
  }

  #drop(): void {
    while (this.#kept[this.#first]!.text === "") this.#first += 1;
    const event = this.#kept[this.#first]!;
    this.#lastDropped = event.number;
    this.#forget(event);
  }

  #forget(event: Kept): void {
    this.#size -= event.text.length;
    this.#length -= 1;
    event.text = "";
    if (event.replaces !== undefined) this.#latest.delete(event.replaces);
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
