import { format } from "node:util";

const levels = ["debug", "info", "warning", "error"] as const;
export type LogLevel = (typeof levels)[number];

export interface LogFields {
  prediction_id?: string;
  [key: string]: unknown;
}

/** The server's own log, on standard error: one JSON object per line, or text with LOG_FORMAT=console. */
export class Log {
  readonly #threshold: number;
  readonly #isText: boolean;
  readonly #authorOnly: boolean;

  /** `authorOnly`: for a command that runs once, the author's lines as they were printed and the server's troubles. */
  constructor(env: NodeJS.ProcessEnv, { authorOnly = false }: { authorOnly?: boolean } = {}) {
    this.#authorOnly = authorOnly;
    const wanted = (env.RUST_LOG || env.COG_LOG_LEVEL || "info").toLowerCase();
    const index = levels.indexOf((wanted === "warn" ? "warning" : wanted) as LogLevel);
    this.#threshold = index < 0 ? 1 : index;
    this.#isText = env.LOG_FORMAT === "console";
  }

  debug(message: string, fields?: LogFields): void {
    this.write("debug", "cog", message, fields);
  }

  info(message: string, fields?: LogFields): void {
    if (!this.#authorOnly) this.write("info", "cog", message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.write("warning", "cog", message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.write("error", "cog", message, fields);
  }

  /** `target` says which part speaks: "cog", "cog::setup", "cog::prediction". */
  write(level: LogLevel, target: string, message: string, fields: LogFields = {}): void {
    if (levels.indexOf(level) < this.#threshold) return;
    const shown = this.#authorOnly ? {} : fields;
    process.stderr.write(this.#isText ? text(message, shown) : json(level, target, message, fields));
  }

  /** A command that runs once tells of it in its own words. */
  setupFailed(error: string): void {
    if (!this.#authorOnly) this.error(`setup failed: ${error}`);
  }

  /** What an author prints before the first prediction: shown at every level, since it is what one waits for. */
  setup(line: string): void {
    process.stderr.write(this.#isText ? `${line}\n` : json("info", "cog::setup", line, {}));
  }
}

function text(message: string, fields: LogFields): string {
  const id = fields.prediction_id;
  return `${id === undefined ? "" : `[${id}] `}${message}\n`;
}

function json(level: LogLevel, target: string, message: string, fields: LogFields): string {
  const line = {
    timestamp: new Date().toISOString(),
    level: level.toUpperCase(),
    target,
    fields: { message, ...fields },
  };
  return format("%s\n", JSON.stringify(line));
}
