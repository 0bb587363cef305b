import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { CodedError } from "../errors/index.ts";
import type { LocalFiles } from "./files/local-files.ts";
import { createListener } from "./http/app.ts";
import { Bodies } from "./http/bodies.ts";
import { Connections } from "./http/connections.ts";
import { HealthReport } from "./http/health.ts";
import { listen } from "./http/listen.ts";
import { answerMalformed } from "./http/malformed.ts";
import { UntakenAnswers } from "./http/untaken-answers.ts";
import { Log, type LogSink } from "./log.ts";
import { Predictions } from "./prediction/predictions.ts";
import { readProject } from "./project.ts";
import type { OpenApiDocument } from "./schema/openapi.ts";
import { readSettings } from "./settings.ts";
import { Shutdown } from "./shutdown.ts";

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
  /** 0 takes any free port. Default: the variable PORT, else 5000. */
  port?: number;
  /** Where output files are sent with PUT; default: they are answered as data URLs. */
  uploadUrl?: string | null;
  /** SIGTERM is ignored; /shutdown or SIGINT end the process. */
  awaitExplicitShutdown?: boolean;
  /** The log is the author's lines alone, without ids: for a command that starts the server for one run. */
  authorLogOnly?: boolean;
  /** Where the log goes; default: standard error. */
  logOutput?: LogSink | undefined;
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

/** The package's version. */
export function packageVersion(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

/**
 * Binds the port, starts the worker and returns as soon as the port answers; setup goes on (poll /health-check).
 * @throws CodedError SERVER_SETTINGS; PROJECT_CONFIG when there is no project, or no reference for the mode; LISTEN_FAILED
 */
export async function startServer(options: ServeOptions): Promise<RunningServer> {
  const { mode = "predict", host = "0.0.0.0", uploadUrl = null, env = process.env } = options;
  const project = readProject(options.projectDir ?? process.cwd(), {
    env,
    ...(options.configFile === undefined ? {} : { file: options.configFile }),
  });
  // As in an image of Cog's, the variables of cog.yaml are the server's too.
  const variables = { ...Object.fromEntries(project.environment), ...env };
  // A port that was given wins over PORT, which may then be anything.
  const settings = readSettings(options.port === undefined ? variables : { ...variables, PORT: undefined });
  const log = await Log.open(settings.log, {
    authorOnly: options.authorLogOnly ?? false,
    output: options.logOutput,
  });
  if (project[mode] === null) {
    throw new CodedError("PROJECT_CONFIG", `cog.yaml names no ${mode} function`, {
      hint: `add a line like '${mode}: ${mode}.ts'`,
    });
  }
  for (const warning of settings.warnings) log.warn(warning);
  const version = packageVersion();
  const userAgent = `llama-lora-cog/${version}`;
  const { holdSetup = false, localFiles = null } = options;
  const predictions = new Predictions({
    project,
    mode,
    settings,
    uploadUrl,
    userAgent,
    env: variables,
    log,
    holdSetup,
    localFiles,
  });
  const health = new HealthReport(predictions.main, { version, isKubernetes: settings.isKubernetes });
  const server = createServer({
    maxHeaderSize: largestHeaders,
    requireHostHeader: false,
    headersTimeout: settings.headerTimeoutMs,
    connectionsCheckingInterval: Math.ceil(settings.headerTimeoutMs / 10),
    // The body of a slow client may take its time: readBody looks after it.
    requestTimeout: 0,
    noDelay: true,
  });
  answerMalformed(server);
  const connections = new Connections(server, settings.maxConnections, log);
  const running = new Shutdown({
    server,
    connections,
    predictions,
    graceMs: settings.shutdownGraceMs,
    cancelGraceMs: settings.cancelGraceMs,
  });
  const bodies = new Bodies({
    silenceMs: settings.clientTimeoutMs,
    memory: settings.bodyMemory,
    mostText: settings.maxInputBytes,
  });
  const ended = running.ended.then(() => {
    bodies.close();
    return log.flush();
  });
  const answer = createListener({
    bodies,
    predictions,
    health,
    version,
    log,
    authToken: settings.authToken,
    answers: new UntakenAnswers({ timeoutMs: settings.clientTimeoutMs, memory: settings.answerMemory, log }),
    isStopping: () => running.isClosing,
    onShutdown: () => void running.close(),
  });
  server.on("request", (req, res) => {
    if (connections.begin(req, res)) answer(req, res);
  });
  const bound = await listen(server, host, options.port ?? settings.port);
  // A connection that cannot be accepted, such as for want of files, is no reason to end.
  server.on("error", (error) => log.error(`a connection was not accepted: ${error.message}`));
  log.info(`listening on ${host}:${bound}`);
  predictions.main.start();
  const reachable =
    host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "[::1]" : host.includes(":") ? `[${host}]` : host;
  return {
    url: `http://${reachable}:${bound}`,
    port: bound,
    document: predictions.main.declared,
    ready: predictions.main.settled().then(async (state) => {
      // What the log says of it stands before what is said on the same terminal.
      await log.flush();
      return state === "ready";
    }),
    beginSetup: () => predictions.main.beginSetup(),
    ended,
    close: (how) => {
      void running.close(how);
      return ended;
    },
  };
}
