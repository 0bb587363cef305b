import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
  readonly at: number;
}

export interface ScriptedAnswer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly delayMs?: number;
  /** Breaks the connection, or leaves it without an answer. */
  readonly instead?: "reset" | "hang";
}

/** A real HTTP server that keeps what it is sent: webhooks, uploads, downloads. */
export class Receiver {
  readonly received: Received[] = [];
  readonly #server: Server;
  readonly #waiting = new Set<() => void>();

  private constructor(answer: (request: Received, index: number) => ScriptedAnswer) {
    this.#server = createServer((req, res) => {
      const chunks: Buffer[] = [];
      req.on("data", (chunk: Buffer) => chunks.push(chunk));
      req.on("end", () => {
        const request: Received = {
          method: req.method!,
          path: req.url!,
          headers: req.headers,
          body: Buffer.concat(chunks),
          at: performance.now(),
        };
        const { status = 200, headers = {}, body = "", delayMs = 0, instead } = answer(request, this.received.length);
        this.received.push(request);
        for (const wake of this.#waiting) wake();
        if (instead === "reset") req.socket.resetAndDestroy();
        if (instead !== undefined) return;
        setTimeout(() => res.writeHead(status, headers).end(body), delayMs);
      });
    });
  }

  static async start(
    answer: (request: Received, index: number) => ScriptedAnswer = () => ({}),
    host = "127.0.0.1",
  ): Promise<Receiver> {
    const receiver = new Receiver(answer);
    await new Promise<void>((resolve) => receiver.#server.listen(0, host, resolve));
    return receiver;
  }

  get url(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return `http://${address}:${port}`;
  }

  /** The bodies received so far, as JSON. */
  get bodies(): Record<string, unknown>[] {
    return this.received.map(({ body }) => JSON.parse(body.toString()) as Record<string, unknown>);
  }

  /** Resolves when `test` holds of what has been received; false after `limitMs`. */
  async until(test: (received: readonly Received[]) => boolean, limitMs: number): Promise<boolean> {
    const end = performance.now() + limitMs;
    while (!test(this.received)) {
      const left = end - performance.now();
      if (left <= 0) return false;
      await new Promise<void>((resolve) => {
        const done = () => {
          clearTimeout(timer);
          this.#waiting.delete(done);
          resolve();
        };
        const timer = setTimeout(done, left);
        this.#waiting.add(done);
      });
    }
    return true;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
