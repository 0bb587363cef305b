import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { text as readText } from "node:stream/consumers";
import { Failure } from "../failure.ts";
import type { ModelDocument, Route } from "../input/schema.ts";
import { type ServerEvent, serverEvents } from "./events.ts";

/** What /health-check answers, as far as the command reads it. */
export interface Health {
  status: string;
  setup?: { status?: string; logs?: string };
}

/** What a run answers. */
export interface RunAnswer {
  status: string;
  output?: unknown;
  error?: string | null;
  metrics?: Record<string, unknown>;
}

export interface RunBody {
  input: Record<string, unknown>;
  context: Record<string, string>;
}

/** Talks to one Cog server, this project's own or any other. Runs have no time limit; dropping a request cancels its run. */
export class ModelClient {
  readonly url: string;

  constructor(url: string) {
    this.url = url.replace(/\/+$/, "");
  }

  async health(signal?: AbortSignal): Promise<Health | undefined> {
    const answer = await this.#send("GET", "/health-check", { signal });
    const health = parsed(await readText(answer)) as Health | undefined;
    return answer.statusCode === 200 && typeof health?.status === "string" ? health : undefined;
  }

  /** The OpenAPI document; undefined while the server has none. */
  async document(signal?: AbortSignal): Promise<ModelDocument | undefined> {
    const answer = await this.#send("GET", "/openapi.json", { signal });
    const document = parsed(await readText(answer));
    return answer.statusCode === 200 && typeof document === "object" && document !== null ? document : undefined;
  }

  /** Runs and waits for the answer. @throws Failure when the server refuses the run */
  async run(route: Route, body: RunBody, signal: AbortSignal): Promise<RunAnswer> {
    const answer = await this.#send("POST", route, { signal, body: JSON.stringify(body) });
    const text = await readText(answer).catch((error) => this.#lost(error, signal));
    if (answer.statusCode !== 200) throw refusal(route, answer.statusCode!, text);
    const value = parsed(text);
    if (typeof value !== "object" || value === null)
      throw new Failure(`Failed to decode prediction response: ${this.url} did not answer with JSON`);
    return value as RunAnswer;
  }

  /** Runs and yields the events of the run as they come. @throws Failure when the server refuses the run */
  async *stream(route: Route, body: RunBody, signal: AbortSignal): AsyncGenerator<ServerEvent, void> {
    const headers = { accept: "text/event-stream" };
    const answer = await this.#send("POST", route, { signal, body: JSON.stringify(body), headers });
    if (answer.statusCode !== 200) throw refusal(route, answer.statusCode!, await readText(answer));
    try {
      yield* serverEvents(answer);
    } catch (error) {
      this.#lost(error, signal);
    }
  }

  /** One request on a connection of its own, as other clients do it: nothing is left open when the command wants to end. */
  async #send(
    method: "GET" | "POST",
    path: string,
    options: { signal?: AbortSignal; body?: string; headers?: Record<string, string> },
  ): Promise<IncomingMessage> {
    const { signal, body, headers } = options;
    const send = this.url.startsWith("https:") ? httpsRequest : httpRequest;
    try {
      const request = send(this.url + path, {
        method,
        signal,
        agent: false,
        headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
      });
      request.end(body);
      const [answer] = (await once(request, "response")) as [IncomingMessage];
      return answer;
    } catch (error) {
      signal?.throwIfAborted();
      throw new Unreachable(this.url, error);
    }
  }

  #lost(error: unknown, signal: AbortSignal): never {
    signal.throwIfAborted();
    throw error instanceof Failure ? error : new Failure(`The connection to ${this.url} broke off`, { cause: error });
  }
}

/** The server did not answer at all. */
export class Unreachable extends Failure {
  constructor(url: string, cause: unknown) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const text = code === "ECONNREFUSED" ? "connection refused" : (code ?? message);
    super(`Cannot reach ${url}: ${text}`, { cause, hint: "Is the server running there? `cog serve` starts one." });
  }
}

function refusal(route: Route, status: number, text: string): Failure {
  if (status !== 422) return new Failure(`Failed to run prediction: ${route} call returned status ${status}`);
  const details = (parsed(text) as { detail?: unknown } | undefined)?.detail;
  if (!Array.isArray(details))
    return new Failure(
      `Failed to run prediction: ${route} call returned status 422, and the response body failed to decode`,
    );
  const lines = details.map((detail: { loc?: unknown[]; msg?: string }) => `- ${detail.loc?.at(-1)}: ${detail.msg}`);
  return new Failure(
    ["Failed to run prediction: The inputs you passed could not be validated:", "", ...lines].join("\n"),
    { hint: "Give each input as -i name=value; `cog schema` prints the names and their types." },
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
