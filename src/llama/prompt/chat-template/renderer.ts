import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { CodedError, type ErrorCode } from "../../../errors/index.ts";
import type { Part } from "../special-names.ts";
import type { ChatRequest } from "./render.ts";

export type RendererAnswer =
  | { readonly kind: "ready" }
  | { readonly kind: "rendered"; readonly conversations: Part[][] }
  /** The template called raise_exception. */
  | { readonly kind: "raised"; readonly message: string }
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: "failed"; readonly message: string };

interface Waiting {
  readonly request: ChatRequest;
  resolve(conversations: Part[][]): void;
  reject(error: unknown): void;
}

// From the sources the built process is started: Node cannot run ours.
const here = import.meta.url.endsWith(".ts") ? "../../../../dist/llama/prompt/chat-template/" : "./";
const entry = fileURLToPath(new URL(`${here}renderer-process.js`, import.meta.url));
/** Of the process's heap, in MiB. */
const heapLimit = 128;
/** What the process itself does not end: one step of a template that takes for ever. */
const secondsToRender = 4;
const secondsToStart = 60;
/** Characters of a message of the template or of the interpreter that are shown. */
const mostShown = 500;

/**
 * Renders chat templates in a process of its own, one request after the other: a template that fills its memory would
 * end a thread's process, too. It is started with the first request and again after it was ended.
 */
class ChatRenderer {
  #process: ChildProcess | null = null;
  #isReady = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #queue: Waiting[] = [];

  /**
   * See renderChats.
   * @throws PROMPT_MESSAGES where the template refuses the messages, PROMPT_TEMPLATE_INVALID for one that cannot be
   * read or does more than it may; the signal's reason, at once
   */
  async render(request: ChatRequest, signal?: AbortSignal): Promise<Part[][]> {
    signal?.throwIfAborted();
    let abort = () => {};
    const answer = new Promise<Part[][]>((resolve, reject) => {
      const waiting = { request, resolve, reject };
      this.#queue.push(waiting);
      abort = () => {
        reject(signal?.reason);
        // The one that is being rendered keeps its place until it is done.
        const place = this.#queue.indexOf(waiting);
        if (place > 0) this.#queue.splice(place, 1);
      };
    });
    signal?.addEventListener("abort", abort, { once: true });
    if (this.#queue.length === 1) this.#next();
    try {
      return await answer;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  #next(): void {
    const [waiting] = this.#queue;
    const isNew = this.#process === null;
    this.#process ??= this.#start();
    const running = this.#process;
    // A process waits for what is being rendered, and for nothing else of the other one.
    for (const each of [running, running.channel]) {
      if (waiting) each?.ref();
      else each?.unref();
    }
    if (waiting && this.#isReady) {
      running.send(waiting.request);
      this.#limit(secondsToRender);
    } else if (isNew) this.#limit(secondsToStart);
  }

  #limit(seconds: number): void {
    this.#timer = setTimeout(() => this.#lost(), seconds * 1000);
  }

  #start(): ChildProcess {
    const started = fork(entry, {
      execArgv: [`--max-old-space-size=${heapLimit}`],
      // A template learns the time zone and nothing else of this machine.
      env: process.env.TZ === undefined ? {} : { TZ: process.env.TZ },
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    started.on("message", (answer: RendererAnswer) => {
      if (this.#process === started) this.#take(answer);
    });
    const lost = () => {
      if (this.#process === started) this.#lost();
    };
    started.on("error", lost);
    started.on("exit", lost);
    return started;
  }

  #take(answer: RendererAnswer): void {
    clearTimeout(this.#timer);
    if (answer.kind === "ready") {
      this.#isReady = true;
      this.#next();
      return;
    }
    const waiting = this.#queue.shift();
    if (answer.kind === "rendered") waiting?.resolve(answer.conversations);
    else waiting?.reject(errorOf(answer));
    this.#next();
  }

  /** Ends the process, and the request that it had. */
  #lost(): void {
    const what = this.#isReady ? "takes too long or too much memory" : "the process that renders it did not start";
    clearTimeout(this.#timer);
    this.#process?.kill("SIGKILL");
    this.#process = null;
    this.#isReady = false;
    this.#queue.shift()?.reject(invalid(what));
    if (this.#queue.length > 0) this.#next();
  }
}

/** Of this process. */
export const chatRenderer = new ChatRenderer();

function errorOf(answer: Exclude<RendererAnswer, { kind: "ready" | "rendered" }>): CodedError {
  const message = answer.message.slice(0, mostShown);
  if (answer.kind === "refused") return new CodedError(answer.code, message);
  if (answer.kind === "failed") return invalid(message);
  return new CodedError("PROMPT_MESSAGES", `the chat template refuses the messages: ${message}`, {
    hint: "The words are the template's own. Give the messages that it asks for, or another prompt_template_name.",
  });
}

function invalid(what: string): CodedError {
  return new CodedError("PROMPT_TEMPLATE_INVALID", `the chat template cannot be used: ${what}`, {
    hint: "Choose another prompt_template_name, or give an alpaca-lora template as prompt_template=@file.json.",
  });
}
