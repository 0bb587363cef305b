import type { Server } from "node:http";
import type { Connections } from "./http/connections.ts";
import type { Predictions } from "./prediction/predictions.ts";

/** When all runs are over: how long a client may take nothing of its answer, or need for its headers. */
const longestStallMs = 5000;
/** After the grace of runs that were aborted: how long answers may take to leave. */
const lastAnswersMs = 1000;

interface ShutdownOptions {
  readonly server: Server;
  readonly connections: Connections;
  readonly predictions: Predictions;
  /** Milliseconds after which runs are aborted; null: never. */
  readonly graceMs: number | null;
  /** How long those may take to end. */
  readonly cancelGraceMs: number;
}

/** The order of stopping: no new connections, runs to their end, answers out, workers, what is left to deliver. */
export class Shutdown {
  readonly ended: Promise<void>;
  readonly #options: ShutdownOptions;
  #resolve: () => void = () => {};
  isClosing = false;

  constructor(options: ShutdownOptions) {
    this.#options = options;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  close({ abort = false }: { abort?: boolean } = {}): Promise<void> {
    if (abort) this.#abort();
    if (!this.isClosing) {
      this.isClosing = true;
      void this.#run().finally(this.#resolve);
    }
    return this.ended;
  }

  #abort(): void {
    const { server, predictions, cancelGraceMs } = this.#options;
    predictions.abort();
    setTimeout(() => server.closeAllConnections(), cancelGraceMs + lastAnswersMs).unref();
  }

  async #run(): Promise<void> {
    const { server, connections, predictions, graceMs } = this.#options;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    // Connections that are kept open between requests would hold up the end.
    server.closeIdleConnections();
    const sweep = setInterval(() => server.closeIdleConnections(), 50);
    const grace = graceMs === null ? undefined : setTimeout(() => this.#abort(), graceMs);
    await predictions.idle();
    for (const socket of connections.sockets()) socket.setTimeout(longestStallMs, () => socket.destroy());
    // A server that is closing no longer looks after its headers' time.
    const late = setTimeout(() => connections.closeUnused(), longestStallMs);
    await closed;
    clearTimeout(late);
    // A request that was still being sent may have started one more.
    await predictions.idle();
    clearInterval(sweep);
    clearTimeout(grace);
    await predictions.close();
  }
}
