import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServerProcess } from "../../test/cog/server-process.ts";

/** How many times each answer came: "200", "413", "closed", "given up" at the time's end. */
export type Answers = Record<string, number>;

/** One hostile thing to do to a server. */
export interface Attack {
  readonly name: string;
  /** Default 10. */
  readonly seconds?: number;
  /** It stops the worker itself, so that the victim's silence says nothing. */
  readonly silencesVictim?: boolean;
  run(target: Target): Promise<void>;
}

export interface Post {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A server under attack, and what it answered. Everything ends with `signal`. */
export class Target {
  readonly answers: Answers = {};
  readonly server: ServerProcess;
  readonly signal: AbortSignal;
  readonly #token: string;
  readonly #sockets: Socket[] = [];

  constructor(server: ServerProcess, token: string, signal: AbortSignal) {
    this.server = server;
    this.signal = signal;
    this.#token = token;
  }

  count(answer: string): void {
    this.answers[answer] = (this.answers[answer] ?? 0) + 1;
  }

  /** Posts a body to the end of the answer, and counts its status. */
  async post(
    body: string | Buffer,
    { path = "/predictions", method = "POST", headers = {} }: Post = {},
  ): Promise<void> {
    const answer = await new Promise<string>((resolve) => {
      const given = { "content-type": "application/json", authorization: `Bearer ${this.#token}`, ...headers };
      const client = request(`${this.server.url}${path}`, {
        method,
        headers: given,
        agent: false,
        signal: this.signal,
      });
      client.on("response", (res) => {
        let start = "";
        res.on("data", (chunk: Buffer) => {
          if (start.length < 10_000) start += chunk.toString("latin1");
        });
        res.on("close", () => resolve(`${res.statusCode}${statusIn(start)}`));
      });
      client.on("error", () => resolve(this.signal.aborted ? "given up" : "closed"));
      client.end(body);
    });
    this.count(answer);
  }

  input(input: object, post?: Post): Promise<void> {
    return this.post(JSON.stringify({ input }), post);
  }

  /** A connection that says `text` and nothing by itself after it; closed with the attack. */
  connection(text = ""): Socket {
    const socket = connect(Number(new URL(this.server.url).port), "127.0.0.1");
    socket.on("error", () => {}).on("close", () => this.count("closed"));
    socket.write(text);
    this.#sockets.push(socket);
    return socket;
  }

  /** The head of a request, without the blank line that ends it. */
  head(path = "/predictions"): string {
    return `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer ${this.#token}\r\n`;
  }

  pause(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.signal }).catch(() => {});
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** " failed" and the code of a run that has ended so, out of its record. */
function statusIn(text: string): string {
  const code = /\[([A-Z_]+)\]/.exec(text)?.[1];
  return text.includes('"failed"') ? ` failed${code === undefined ? "" : ` ${code}`}` : "";
}
