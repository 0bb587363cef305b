import type { ErrorCode } from "../errors/index.ts";
import type { WriteLine } from "./json-log.ts";

const levels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof levels)[number];

export interface LogFields {
  prediction_id?: string;
  /** Of the registry of errors. */
  code?: ErrorCode;
  [key: string]: unknown;
}

export interface LogSettings {
  /** RUST_LOG or COG_LOG_LEVEL: the least that is written. */
  readonly level: LogLevel | "off";
  /** LOG_FORMAT */
  readonly format: "json" | "console";
}

interface LogOptions {
  /** For a command that runs once: the author's lines as they were printed, and the server's troubles. */
  authorOnly?: boolean;
}

/** The server's own log, on standard error: one JSON object per line, or text with LOG_FORMAT=console. */
export class Log {
  readonly #threshold: number;
  readonly #authorOnly: boolean;
  readonly #line: WriteLine;

  private constructor(level: LogSettings["level"], line: WriteLine, authorOnly: boolean) {
    this.#authorOnly = authorOnly;
    this.#line = line;
    this.#threshold = level === "off" ? levels.length : levels.indexOf(level);
  }

  static async open({ level, format }: LogSettings, { authorOnly = false }: LogOptions = {}): Promise<Log> {
    if (format === "console") return new Log(level, textLine, authorOnly);
    // A command's own server never writes JSON, and starts sooner without the library.
    const { jsonLines } = await import("./json-log.ts");
    return new Log(level, jsonLines(write), authorOnly);
  }

  debug(message: string, fields?: LogFields): void {
    this.write("debug", "cog", message, fields);
  }

  info(message: string, fields?: LogFields): void {
    if (!this.#authorOnly) this.write("info", "cog", message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.write("warn", "cog", message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.write("error", "cog", message, fields);
  }

  /** `target` says which part speaks: "cog", "cog::setup", "cog::prediction". */
  write(level: LogLevel, target: string, message: string, fields: LogFields = {}): void {
    if (levels.indexOf(level) < this.#threshold) return;
    this.#line(level, target, message, this.#authorOnly ? {} : fields);
  }

  /** A command that runs once tells of it in its own words. */
  setupFailed(error: string, code?: ErrorCode): void {
    if (!this.#authorOnly) this.error(`setup failed: ${error}`, code === undefined ? {} : { code });
  }

  /** What an author prints before the first prediction: shown at every level, since it is what one waits for. */
  setup(line: string): void {
    this.#line("info", "cog::setup", line, {});
  }
}

// A log that goes to a full disk, or to a reader that has gone, must not end the server.
process.stderr.on("error", () => {});

function write(line: string): void {
  process.stderr.write(line);
}

function textLine(_level: LogLevel, _target: string, message: string, fields: LogFields): void {
  const id = fields.prediction_id;
  const before = id === undefined ? "" : `[${id}] `;
  // A line of an error's text must not look like one of another run.
  write(`${before}${message.replaceAll("\n", `\n${before}`)}\n`);
}
