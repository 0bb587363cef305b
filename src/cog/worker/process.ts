import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import type { Socket } from "node:net";
import type { Duplex, Readable } from "node:stream";
import { builtEntry } from "../built-entry.ts";
import { LineBuffer } from "./logs.ts";
import { type FromWorker, MessageWriter, readMessages, type ToWorker } from "./protocol.ts";
import type { Secrets } from "./secrets.ts";

const entry = builtEntry("./main.js", import.meta.url);

export interface WorkerEvents {
  message(message: FromWorker): void;
  /** The process is not stopped; `beatMs` after the last. */
  beat(): void;
  /** Lines that native code or a child process printed: JavaScript's come as messages. */
  printed(data: string): void;
  /** Always called once, after the last message. */
  exit(code: number | null, signal: NodeJS.Signals | null): void;
}

export interface WorkerOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly beatMs: number;
  readonly cancelGraceMs: number;
  readonly secrets: Secrets;
  readonly events: WorkerEvents;
}

/** How long what a worker has left on its descriptors 1 and 2 is read after its end: a child of its own may hold them open. */
const lastWordsMs = 50;

/** One worker process and the line to it. */
export class WorkerProcess {
  readonly #child: ChildProcess;
  readonly #writer: MessageWriter<ToWorker>;

  constructor(options: WorkerOptions) {
    const { cwd, env, beatMs, cancelGraceMs, secrets, events } = options;
    const stdio: StdioOptions = ["ignore", "pipe", "pipe", "pipe", "pipe"];
    const child = spawn(process.execPath, [entry, String(beatMs), String(cancelGraceMs)], { cwd, env, stdio });
    this.#child = child;
    const lines = new LineBuffer(secrets, (_source, data) => events.printed(data));
    for (const source of ["stdout", "stderr"] as const) {
      child[source]!.on("data", (bytes: Buffer) => lines.write(source, bytes));
      child[source]!.on("error", () => {});
    }
    const socket = child.stdio[3] as Socket;
    this.#writer = new MessageWriter(socket);
    readMessages<FromWorker>(socket, (message) => events.message(message));
    socket.on("error", () => this.kill());
    const beats = child.stdio[4] as Socket;
    beats.on("data", () => events.beat());
    beats.on("error", () => {});
    let isOver = false;
    const over = (code: number | null, signal: NodeJS.Signals | null) => {
      if (isOver) return;
      isOver = true;
      lines.flush();
      for (const stream of child.stdio) stream?.destroy();
      events.exit(code, signal);
    };
    child.on("exit", (code, signal) => {
      const printed = Promise.race([Promise.all([closed(child.stdout!), closed(child.stderr!)]), lastWords()]);
      void Promise.all([closed(socket), printed]).then(() => over(code, signal));
    });
    child.on("error", () => over(null, null));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  send(message: ToWorker): void {
    this.#writer.send(message);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

function closed(stream: Duplex | Readable): Promise<void> {
  return stream.closed ? Promise.resolve() : new Promise((resolve) => stream.once("close", resolve));
}

/** Resolves after the time, and never before what is there could be read. */
function lastWords(): Promise<void> {
  return new Promise((resolve) => setTimeout(() => setImmediate(resolve), lastWordsMs));
}
