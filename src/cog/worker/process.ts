import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { type FromWorker, MessageWriter, readMessages, type ToWorker } from "./protocol.ts";

// From the sources (tests) the built worker is started: Node cannot run ours.
const entry = fileURLToPath(new URL("./main.js", import.meta.url)).replace("/src/cog/", "/dist/cog/");

export interface WorkerEvents {
  message(message: FromWorker): void;
  /** The process is not stopped; `beatMs` after the last. */
  beat(): void;
  /** Always called once, after the last message. */
  exit(code: number | null, signal: NodeJS.Signals | null): void;
}

/** One worker process and the line to it. */
export class WorkerProcess {
  readonly #child: ChildProcess;
  readonly #writer: MessageWriter<ToWorker>;

  constructor(options: { cwd: string; env: NodeJS.ProcessEnv; beatMs: number; events: WorkerEvents }) {
    const { cwd, env, beatMs, events } = options;
    // What native code prints goes to the server's standard error; JavaScript's output comes as messages.
    this.#child = spawn(process.execPath, [entry, String(beatMs)], {
      cwd,
      env,
      stdio: ["ignore", 2, 2, "pipe", "pipe"],
    });
    const socket = this.#child.stdio[3] as Socket;
    this.#writer = new MessageWriter(socket);
    readMessages<FromWorker>(socket, (message) => events.message(message));
    socket.on("error", () => this.kill());
    const beats = this.#child.stdio[4] as Socket;
    beats.on("data", () => events.beat());
    beats.on("error", () => {});
    // "close" comes after the socket has been read to its end, "exit" may come before.
    this.#child.on("close", (code, signal) => events.exit(code, signal));
    this.#child.on("error", () => events.exit(null, null));
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
