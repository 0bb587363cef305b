import type { Socket } from "node:net";
import { StringDecoder } from "node:string_decoder";
import type { ErrorCode } from "../../errors/index.ts";
import type { Reference } from "../project.ts";
import type { MetricMode } from "../schema/context.ts";
import type { OpenApiDocument } from "../schema/openapi.ts";

/**
 * What the server process and the worker process say to each other: one JSON text per line, on a socket pair that the
 * worker finds at file descriptor 3. A run is known by its number, never by the id a client chose.
 */
export type ToWorker =
  | {
      readonly type: "start";
      readonly predict: Reference | null;
      readonly train: Reference | null;
      /** For the document: what a training's file is called. */
      readonly trainOutput: string | null;
      /** Which of the two this worker sets up and runs. */
      readonly role: "predict" | "train";
      readonly weights: string | null;
      /** Setup waits for the message "setup". */
      readonly holdSetup: boolean;
    }
  | { readonly type: "setup" }
  | RunRequest
  | { readonly type: "cancel"; readonly run: number }
  | { readonly type: "health" }
  | { readonly type: "stop" };

export interface RunRequest {
  readonly type: "run";
  readonly run: number;
  readonly id: string;
  /** As validated; file inputs are paths on this machine by now. */
  readonly input: Readonly<Record<string, unknown>>;
  /** Inputs that must not show. */
  readonly secrets: readonly string[];
  /** What the client calls the files, by path. */
  readonly names: Readonly<Record<string, string>>;
  readonly context: Readonly<Record<string, string>>;
  /** The run's own folder; not yet made. */
  readonly tempDir: string;
}

export type FromWorker =
  /** The author's modules are loaded; setup follows. */
  | {
      readonly type: "declared";
      readonly document: OpenApiDocument;
      readonly concurrency: number;
      readonly healthcheck: boolean;
    }
  | { readonly type: "ready" }
  | SetupFailure
  | { readonly type: "log"; readonly run: number; readonly source: LogSource; readonly data: string }
  | { readonly type: "setupLog"; readonly data: string }
  | { readonly type: "strayLog"; readonly data: string }
  /** Of what failed a run: for the server's log alone. */
  | { readonly type: "stack"; readonly run: number; readonly data: string }
  | { readonly type: "chunk"; readonly run: number; readonly value: unknown; readonly files?: readonly OutputFile[] }
  | {
      readonly type: "metric";
      readonly run: number;
      readonly name: string;
      readonly value: unknown;
      readonly mode: MetricMode;
    }
  | RunEnd
  | { readonly type: "settled"; readonly run: number; readonly tempDir?: true }
  /** Answers the last "health". */
  | { readonly type: "health"; readonly error: string | null };

export interface SetupFailure {
  readonly type: "setupFailed";
  /** For the log: with the stack, where that is of use. */
  readonly error: string;
  /** Of an error of the registry, its parts. */
  readonly coded: { readonly code: ErrorCode; readonly message: string; readonly hint?: string } | null;
}

export interface RunEnd {
  readonly type: "end";
  readonly run: number;
  readonly status: "succeeded" | "failed" | "canceled";
  /** Of a run that was no generator. */
  readonly value?: unknown;
  readonly files?: readonly OutputFile[];
  readonly error?: string;
  /** The author's function has returned: the slot is free. Else "settled" follows. */
  readonly settled: boolean;
  /** The run's folder has been made. */
  readonly tempDir?: true;
}

export type LogSource = "stdout" | "stderr";

/** A returned file: where in the value (whose place holds null) it belongs. */
export interface OutputFile {
  readonly at: readonly (string | number)[];
  readonly path: string;
}

/** Writes messages; those of one millisecond go out together, but a busy event loop does not hold them back. */
export class MessageWriter<Message> {
  readonly #socket: Socket;
  #pending = "";
  #scheduled = false;
  #written = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  send(message: Message): void {
    this.#pending += `${JSON.stringify(message)}\n`;
    if (this.#pending.length > 65_536 || performance.now() - this.#written > 1) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => this.flush());
    }
  }

  flush(): void {
    this.#scheduled = false;
    if (this.#pending === "" || this.#socket.destroyed) return;
    this.#written = performance.now();
    this.#socket.write(this.#pending);
    this.#pending = "";
  }
}

/** Calls `receive` for every message that arrives. */
export function readMessages<Message>(socket: Socket, receive: (message: Message) => void): void {
  const decoder = new StringDecoder("utf8");
  // Pieces of one long message are joined once, when its end is there.
  let pieces: string[] = [];
  socket.on("data", (bytes: Buffer) => {
    const text = decoder.write(bytes);
    let start = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", start)) {
      const line = text.slice(start, end);
      start = end + 1;
      if (pieces.length === 0) receive(JSON.parse(line) as Message);
      else {
        pieces.push(line);
        const whole = pieces.join("");
        pieces = [];
        receive(JSON.parse(whole) as Message);
      }
    }
    if (start < text.length) pieces.push(text.slice(start));
  });
}
