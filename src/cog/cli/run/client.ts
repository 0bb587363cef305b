import { type Dispatcher, request } from "undici";
import { connections } from "../../../network/proxy.ts";
import { Failure } from "../../../terminal/failure.ts";
import { largestBody } from "../../http/body.ts";
import type { ModelDocument, Route } from "../input/schema.ts";
import { type ServerEvent, serverEvents } from "./events.ts";

/** What /health-check answers, as far as the command reads it. */
export interface Health {
  status: string;
  setup?: { status?: string; logs?: string };
  version?: { node?: string };
}

/** What a run answers. */
export interface RunAnswer {
  status: string;
  output?: unknown;
  error?: string | null;
  metrics?: Record<string, unknown>;
}

export interface RunBody {
  /** Of the run; the server makes one up where there is none. */
  id?: string;
  input: Record<string, unknown>;
  context: Record<string, string>;
}

interface SendOptions {
  signal?: AbortSignal | undefined;
  body?: string;
  headers?: Record<string, string>;
}

/** Talks to one Cog server, this project's own or any other. Runs have no time limit; dropping a request cancels its run. */
export class ModelClient {
  readonly url: string;
  readonly #token: string | null;
  readonly #connections = connections(process.env, { headersTimeout: 0, bodyTimeout: 0 });

  constructor(url: string, token: string | null) {
    this.url = url.replace(/\/+$/, "");
    this.#token = token;
  }

  /** Undefined while a gateway says that nothing is behind it yet. @throws Failure where something else answers */
  async health(signal?: AbortSignal): Promise<Health | undefined> {
    const answer = await this.#send("GET", "/health-check", { signal });
    const health = parsed(await answer.body.text()) as Health | undefined;
    if (answer.statusCode === 200 && typeof health?.status === "string") return health;
    if (startingGateway.has(answer.statusCode)) return undefined;
    throw new Failure(`${this.url} is no Cog server: /health-check answered with status ${answer.statusCode}`);
  }

  /** The OpenAPI document; undefined while the server has none. */
  async document(signal?: AbortSignal): Promise<ModelDocument | undefined> {
    const answer = await this.#send("GET", "/openapi.json", { signal });
    const document = parsed(await answer.body.text());
    return answer.statusCode === 200 && typeof document === "object" && document !== null ? document : undefined;
  }

  /** Runs and waits for the answer. @throws Failure when the server refuses the run */
  async run(route: Route, body: RunBody, signal?: AbortSignal): Promise<RunAnswer> {
    const answer = await this.#send("POST", route, { signal, body: JSON.stringify(body) });
    const text = await answer.body.text().catch((error) => this.#lost(error, signal));
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
    if (answer.statusCode !== 200) throw refusal(route, answer.statusCode!, await answer.body.text());
    try {
      yield* serverEvents(answer.body);
    } catch (error) {
      this.#lost(error, signal);
    }
  }

  /** The events of a run that another request makes; null where it has not begun, undefined where this server has none. */
  async events(route: Route, id: string, signal: AbortSignal): Promise<AsyncGenerator<ServerEvent> | null | undefined> {
    const answer = await this.#send("GET", `${route}/${encodeURIComponent(id)}/stream`, { signal });
    if (answer.statusCode === 200) return serverEvents(answer.body);
    await answer.body.dump();
    return answer.statusCode === 404 ? null : undefined;
  }

  /** One request on a connection of its own, as other clients do it: nothing is left open when the command wants to end. */
  async #send(method: "GET" | "POST", path: string, options: SendOptions): Promise<Dispatcher.ResponseData> {
    const { signal, body, headers } = options;
    if (body !== undefined && Buffer.byteLength(body) > largestBody)
      throw new Failure(`The inputs make a request of ${Buffer.byteLength(body)} bytes; servers take ${largestBody}`);
    const answer = await request(this.url + path, {
      method,
      body: body ?? null,
      signal: signal ?? null,
      reset: true,
      dispatcher: this.#connections,
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(this.#token === null ? {} : { authorization: `Bearer ${this.#token}` }),
        ...headers,
      },
    }).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw new Unreachable(this.url, error);
    });
    if (answer.statusCode !== 401) return answer;
    await answer.body.dump();
    const wrong = this.#token === null ? "asks for a token" : "does not take this token";
    throw new Failure(`${this.url} ${wrong}`, { hint: "Give it with --token, or in the variable COG_AUTH_TOKEN." });
  }

  #lost(error: unknown, signal: AbortSignal | undefined): never {
    signal?.throwIfAborted();
    throw error instanceof Failure ? error : new Failure(`The connection to ${this.url} broke off`, { cause: error });
  }
}

/** Statuses of a gateway whose server is not there yet. */
const startingGateway = new Set([502, 503, 504]);

/** The server did not answer at all. */
export class Unreachable extends Failure {
  /** "refused": nobody listens. "broken": a container's port, as long as the server behind it has not opened it. */
  readonly how: "refused" | "broken" | "other";

  constructor(url: string, cause: unknown) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const text = code === "ECONNREFUSED" ? "connection refused" : (code ?? message);
    super(`Cannot reach ${url}: ${text}`, { cause, hint: "Is the server running there? `cog serve` starts one." });
    const isBroken = code === "ECONNRESET" || code === "UND_ERR_SOCKET";
    this.how = code === "ECONNREFUSED" ? "refused" : isBroken ? "broken" : "other";
  }
}

function refusal(route: Route, status: number, text: string): Failure {
  if (status !== 422) {
    const reason = reasonIn(text);
    return new Failure(
      `Failed to run prediction: ${route} call returned status ${status}${reason === "" ? "" : `: ${reason}`}`,
    );
  }
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

/** The server's own words: those of a JSON answer, else the first line of its text. */
function reasonIn(text: string): string {
  const value = parsed(text) as { error?: unknown; detail?: unknown } | null | undefined;
  const words = [value?.error, value?.detail].find((part) => typeof part === "string") as string | undefined;
  const line = (words ?? (value === undefined ? text : "")).trim().split("\n")[0]!;
  return line.startsWith("<") ? "" : line.slice(0, 300);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
