import type { ErrorCode } from "../errors/index.ts";
import type { WriteLine } from "./json-log.ts";
import { LogOutput } from "./log-output.ts";
import { withoutControls } from "./shown-text.ts";

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

/** Where lines of the log go, each with its newline. */
export interface LogSink {
  write(line: string): void;
  /** Resolves when everything is written. */
  flush(): Promise<void>;
}

interface LogOptions {
  /** For a command that runs once: the author's lines as they were printed, and the server's troubles. */
  authorOnly?: boolean;
  /** Default: standard error. */
  output?: LogSink | undefined;
}

/** The server's own log, on standard error: one JSON object per line, or text with LOG_FORMAT=console. */
export class Log {
  readonly #threshold: number;
  readonly #authorOnly: boolean;
  readonly #output: LogSink;
  #line: WriteLine;

  private constructor(level: LogSettings["level"], authorOnly: boolean, output: LogSink | undefined) {
    this.#authorOnly = authorOnly;
    this.#output = output ?? new LogOutput((lines) => this.warn(lostLines(lines)));
    this.#line = textLines(this.#write);
    this.#threshold = level === "off" ? levels.length : levels.indexOf(level);
  }

  static async open({ level, format }: LogSettings, { authorOnly = false, output }: LogOptions = {}): Promise<Log> {
    const log = new Log(level, authorOnly, output);
    // A command's own server never writes JSON, and starts sooner without the library.
    if (format === "json") log.#line = (await import("./json-log.ts")).jsonLines(log.#write);
    return log;
  }

  readonly #write = (line: string) => this.#output.write(line);

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

  /** Shown at every level: what an author prints before the first prediction, since it is what one waits for. */
  always(target: string, line: string): void {
    this.#line("info", target, line, {});
  }

  /** Before the process ends. */
  flush(): Promise<void> {
    return this.#output.flush();
  }
}

/** Said where lines flow again. */
export function lostLines(lines: number): string {
  return `${lines} lines of the log were lost: standard error was not read, or could not be written`;
}

/** Text for people: a line of an error's text must not look like one of another run. */
function textLines(write: (line: string) => void): WriteLine {
  return (_level, _target, message, fields) => {
    const id = fields.prediction_id;
    const before = id === undefined ? "" : `[${id}] `;
    const lines = message.replaceAll("\r\n", "\n").replace(/\r$/, "");
    write(withoutControls(`${before}${lines.replaceAll("\n", `\n${before}`)}\n`));
  };
}
