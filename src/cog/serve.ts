import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { CodedError } from "../errors/index.ts";
import type { LocalFiles } from "./files/local-files.ts";
import { createListener } from "./http/app.ts";
import { HealthReport } from "./http/health.ts";
import { answerMalformed } from "./http/malformed.ts";
import { Log } from "./log.ts";
import { Predictions } from "./prediction/predictions.ts";
import { readProject } from "./project.ts";
import type { OpenApiDocument } from "./schema/openapi.ts";
import { readSettings } from "./settings.ts";

export { parseServeOptions, type ServeCommand, serveUsage } from "./options.ts";

/** How a server is started: what the flags and the environment say (Cog's server entry point plus `--port`). */
export interface ServeOptions {
  /** Any folder of the project; cog.yaml is searched for upwards. Default: the working directory. */
  projectDir?: string;
  /** Another name or path of cog.yaml. */
  configFile?: string;
  /** Which reference is loaded; default "predict". */
  mode?: "predict" | "train";
  /** Default "0.0.0.0". */
  host?: string;
  /** 0 takes any free port; default 5000. */
  port?: number;
  /** Where output files are sent with PUT; default: they are answered as data URLs. */
  uploadUrl?: string | null;
  /** SIGTERM is ignored; /shutdown or SIGINT end the process. */
  awaitExplicitShutdown?: boolean;
  /** The log is the author's lines alone, without ids: for a command that starts the server for one run. */
  authorLogOnly?: boolean;
  /** Only the declarations are loaded; setup waits for beginSetup(). */
  holdSetup?: boolean;
  /** Inputs that the caller hands over by reference; no other client can. */
  localFiles?: LocalFiles;
  /** Settings (COG_*, WEBHOOK_AUTH_TOKEN, LOG_FORMAT, ...) and the environment of the author's process. Default: process.env. */
  env?: NodeJS.ProcessEnv;
}

export interface RunningServer {
  /** "http://127.0.0.1:5000": an address this machine can reach, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /**
   * What the author declared; there before setup runs. Rejects with the CodedError, or with an Error whose message holds the
   * stack, when the declarations cannot be loaded. Later states are told by /health-check.
   */
  readonly document: Promise<OpenApiDocument>;
  /** Resolves when setup is over: has it succeeded? */
  readonly ready: Promise<boolean>;
  /** Lets setup begin where it was held. */
  beginSetup(): void;
  /** Resolves when the server has ended, by close(), POST /shutdown or otherwise. */
  readonly ended: Promise<void>;
  /** Graceful stop: open requests and runs finish first. `abort` cancels the runs. Idle: about 0.1 s. */
  close(options?: { abort?: boolean }): Promise<void>;
}

const largestHeaders = 256 * 1024;
/** When all runs are over: how long a client may take nothing of its answer. */
const longestStallMs = 5000;
/** After the runs were aborted: how long answers may take to leave. */
const abortLimitMs = 6000;

/** The package's version. */
export function packageVersion(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

/**
 * Binds the port, starts the worker and returns as soon as the port answers; setup goes on (poll /health-check).
 * @throws CodedError PROJECT_CONFIG when there is no project, or no reference for the mode; an Error when the port is taken
 */
export async function startServer(options: ServeOptions): Promise<RunningServer> {
  const { mode = "predict", host = "0.0.0.0", port = 5000, uploadUrl = null, env = process.env } = options;
  const log = await Log.open(env, { authorOnly: options.authorLogOnly ?? false });
  const project = readProject(options.projectDir ?? process.cwd(), {
    env,
    ...(options.configFile === undefined ? {} : { file: options.configFile }),
  });
  if (project[mode] === null) {
    throw new CodedError("PROJECT_CONFIG", `cog.yaml names no ${mode} function`, {
      hint: `add a line like '${mode}: ${mode}.ts'`,
    });
  }
  const settings = readSettings(env, (message) => log.warn(message));
  const version = packageVersion();
  const userAgent = `llama-lora-cog/${version}`;
  const { holdSetup = false, localFiles = null } = options;
  const predictions = new Predictions({
    project,
    mode,
    settings,
    uploadUrl,
    userAgent,
    env,
    log,
    holdSetup,
    localFiles,
  });
  const health = new HealthReport(predictions.main, { version, isKubernetes: settings.isKubernetes });
  const server = createServer({
    maxHeaderSize: largestHeaders,
    requireHostHeader: false,
    // The body of a slow client may take its time; the headers may not.
    requestTimeout: 0,
    noDelay: true,
  });
  answerMalformed(server);
  const running = new Shutdown(server, predictions, settings.shutdownGraceMs);
  server.on(
    "request",
    createListener({
      predictions,
      health,
      version,
      log,
      authToken: settings.authToken,
      isStopping: () => running.isClosing,
      onShutdown: () => void running.close(),
    }),
  );
  await listen(server, host, port);
  const bound = (server.address() as AddressInfo).port;
  log.info(`listening on ${host}:${bound}`);
  predictions.main.start();
  const reachable =
    host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "[::1]" : host.includes(":") ? `[${host}]` : host;
  return {
    url: `http://${reachable}:${bound}`,
    port: bound,
    document: predictions.main.declared,
    ready: predictions.main.settled().then((state) => state === "ready"),
    beginSetup: () => predictions.main.beginSetup(),
    ended: running.ended,
    close: (how) => running.close(how),
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** The order of stopping: no new connections, runs to their end, answers out, workers, what is left to deliver. */
class Shutdown {
  readonly ended: Promise<void>;
  readonly #server: Server;
  readonly #predictions: Predictions;
  readonly #graceMs: number | null;
  #resolve: () => void = () => {};
  readonly #sockets = new Set<Socket>();
  isClosing = false;

  constructor(server: Server, predictions: Predictions, graceMs: number | null) {
    this.#server = server;
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.#predictions = predictions;
    this.#graceMs = graceMs;
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
    this.#predictions.abort();
    setTimeout(() => this.#server.closeAllConnections(), abortLimitMs).unref();
  }

  async #run(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    // Connections that are kept open between requests would hold up the end.
    this.#server.closeIdleConnections();
    const sweep = setInterval(() => this.#server.closeIdleConnections(), 50);
    const grace = this.#graceMs === null ? undefined : setTimeout(() => this.#abort(), this.#graceMs);
    await this.#predictions.idle();
    for (const socket of this.#sockets) socket.setTimeout(longestStallMs, () => socket.destroy());
    await closed;
    // A request that was still being sent may have started one more.
    await this.#predictions.idle();
    clearInterval(sweep);
    clearTimeout(grace);
    await this.#predictions.close();
  }
}
