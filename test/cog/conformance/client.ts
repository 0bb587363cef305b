import { request } from "node:http";

export interface Outgoing {
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: Buffer | null;
}

export type StreamEvent = { readonly event: string; readonly data: unknown } | { readonly comment: string };

export interface Incoming {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly text: string;
  readonly events: StreamEvent[] | null;
  readonly tookMs: number;
  /** When each output event came, in milliseconds after the request. */
  readonly outputTimes: number[];
}

/** A request on a connection of its own, with the headers given and no others of its own choice. */
export class Exchange {
  readonly answer: Promise<Incoming>;
  #text = "";
  #outputTimes: number[] = [];
  readonly #close: () => void;

  constructor(url: string, { method, path, headers, body }: Outgoing) {
    const { hostname, port } = new URL(url);
    const started = performance.now();
    const all = {
      ...headers,
      Connection: "close",
      ...(body === null ? {} : { "Content-Length": String(body.length) }),
    };
    const req = request({ hostname, port, method, path, headers: all, agent: false });
    this.#close = () => req.destroy();
    this.answer = new Promise((resolve, reject) => {
      req.on("response", (res) => {
        const isStream = String(res.headers["content-type"]).startsWith("text/event-stream");
        res.setEncoding("utf8").on("data", (piece: string) => {
          for (const _ of piece.matchAll(/^event: output$/gm)) this.#outputTimes.push(performance.now() - started);
          this.#text += piece;
        });
        res.on("end", () =>
          resolve({
            status: res.statusCode!,
            headers: res.headers as Record<string, string>,
            text: this.#text,
            events: isStream ? eventsOf(this.#text) : null,
            tookMs: performance.now() - started,
            outputTimes: this.#outputTimes,
          }),
        );
      });
      req.on("error", reject);
    });
    this.answer.catch(() => {});
    req.end(body ?? undefined);
  }

  /** How many events of this name have come so far. */
  count(event: string): number {
    return eventsOf(this.#text).filter((item) => "event" in item && item.event === event).length;
  }

  close(): void {
    this.#close();
  }
}

function eventsOf(text: string): StreamEvent[] {
  const events: StreamEvent[] = [];
  for (const block of text.split("\n\n")) {
    const event = /^event: (.*)$/m.exec(block)?.[1];
    const data = /^data: (.*)$/m.exec(block)?.[1];
    const comment = /^: (.*)$/m.exec(block)?.[1];
    if (comment !== undefined) events.push({ comment });
    else if (event !== undefined && data !== undefined) events.push({ event, data: JSON.parse(data) });
  }
  return events;
}
