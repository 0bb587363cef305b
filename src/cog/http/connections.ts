import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Log } from "../log.ts";
import { refuse } from "./malformed.ts";

/** Connections beyond the limit that may still be reading why they were refused. */
const mostRefused = 16;
const warnEveryMs = 60_000;

interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}

/**
 * Keeps the number of open connections within a limit. A new one beyond it takes the place of the one that has sent no
 * whole request for longest: half-open and idle clients shut nobody out. Where all wait for an answer it gets 503.
 */
export class Connections {
  readonly #limit: number;
  readonly #log: Log;
  /** The latest exchange of each, null before the first; in the order in which those began. */
  readonly #open = new Map<Socket, Exchange | null>();
  #lastWarning = Number.NEGATIVE_INFINITY;

  constructor(server: Server, limit: number, log: Log) {
    this.#limit = limit;
    this.#log = log;
    server.maxConnections = limit + mostRefused;
    server.on("connection", (socket: Socket) => this.#add(socket));
  }

  /** Notes that a request has begun. False: its connection was refused, or is gone, and nobody takes an answer. */
  begin(req: IncomingMessage, res: ServerResponse): boolean {
    // Set again, it is the last in the map's order.
    if (!this.#open.delete(req.socket)) return false;
    this.#open.set(req.socket, { req, res });
    return true;
  }

  /** All that are open now. */
  sockets(): IterableIterator<Socket> {
    return this.#open.keys();
  }

  /** Closes those on which no request has begun, or none after the last answer. */
  closeUnused(): void {
    for (const [socket, exchange] of this.#open) if (isUnused(exchange)) socket.destroy();
  }

  #add(socket: Socket): void {
    if (this.#open.size >= this.#limit) {
      const victim = this.#longestWithoutRequest();
      this.#warn();
      if (victim === undefined) {
        refuse(socket, "503 Service Unavailable\r\nRetry-After: 1");
        return;
      }
      this.#open.delete(victim);
      victim.destroy();
    }
    this.#open.set(socket, null);
    socket.on("close", () => this.#open.delete(socket));
  }

  /** Between requests, or with a part of one. */
  #longestWithoutRequest(): Socket | undefined {
    for (const [socket, exchange] of this.#open) {
      if (isUnused(exchange) || exchange?.req.complete === false) return socket;
    }
    return undefined;
  }

  #warn(): void {
    if (performance.now() - this.#lastWarning < warnEveryMs) return;
    this.#lastWarning = performance.now();
    this.#log.warn(
      `all ${this.#limit} connections are in use (COG_MAX_CONNECTIONS): those without a whole request are closed, and where there is none new ones get 503`,
    );
  }
}

/** Headers that are not complete are no request yet. */
function isUnused(exchange: Exchange | null): boolean {
  return exchange === null || exchange.res.writableFinished;
}
