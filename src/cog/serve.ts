/** How a server is started: what the flags and the environment say (Cog's server entry point plus `--port`). */
export interface ServeOptions {
  /** Any folder of the project; cog.yaml is searched for upwards. Default: the working directory. */
  projectDir?: string;
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
  /** Settings (COG_*, WEBHOOK_AUTH_TOKEN, LOG_FORMAT, ...) and the environment of the author's process. Default: process.env. */
  env?: NodeJS.ProcessEnv;
}

export interface RunningServer {
  /** "http://127.0.0.1:5000": an address this machine can reach, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Resolves when the server has ended, by close(), POST /shutdown or otherwise. */
  readonly ended: Promise<void>;
  /** Graceful stop: open requests and runs finish first. `abort` cancels the runs. Idle: about 0.1 s. */
  close(options?: { abort?: boolean }): Promise<void>;
}

export type ServeCommand =
  | { readonly action: "serve"; readonly options: ServeOptions }
  | { readonly action: "version" }
  | { readonly action: "usage"; readonly message: string };

/** Binds the port, starts the worker and returns as soon as the port answers (setup goes on: poll /health-check). */
export declare function startServer(options: ServeOptions): Promise<RunningServer>;
/** Reads the server's flags (--host, --port/-p, --upload-url, --x-mode, --await-explicit-shutdown, --threads, -v). */
export declare function parseServeOptions(argv: readonly string[], env: NodeJS.ProcessEnv): ServeCommand;
