import { readFileSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Log } from "../log.ts";
import { refuse } from "./malformed.ts";

/** Files that the process needs beside its clients' connections: the worker, downloads, uploads, webhooks. */
const reserved = 64;
/** The default where the system does not say how many files a process may open. */
const usual = 768;
const highestDefault = 10_000;
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
      if (exchange === null || exchange.res.writableFinished || !exchange.req.complete) return socket;
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

/** The most that COG_MAX_CONNECTIONS may be. */
export function mostConnections(): number {
  const files = openFiles();
  return files === null ? Number.MAX_SAFE_INTEGER : Math.max(1, files - reserved);
}

/** Three quarters of the files that the process may open (`ulimit -n`), at most 10,000. */
export function defaultConnections(): number {
  const files = openFiles();
  return files === null ? usual : Math.min(Math.max(1, Math.floor(files * 0.75)), highestDefault, mostConnections());
}

/** Null where the system is not Linux. */
function openFiles(): number | null {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return limit === undefined ? null : Number(limit);
  } catch {
    return null;
  }
}
