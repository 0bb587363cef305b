import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../../scripts/free-port.mjs";
import { type Received, Receiver, type ScriptedAnswer } from "../receiver.ts";
import type { ServerProcess } from "../server-process.ts";
import { Exchange, type Incoming } from "./client.ts";
import { differences, normalized, type Rule } from "./compare.ts";
import { isShareable, type SharedServers, type StartFixture, startFixture } from "./shared-servers.ts";

// biome-ignore-start lint/suspicious/noExplicitAny: recorded cases are plain JSON of many shapes
type Json = any;

export interface Case {
  readonly id: string;
  readonly title: string;
  readonly fixture: string;
  readonly server: { env: Record<string, string>; flags: string[]; wait_for: string | string[] | null } | null;
  readonly services?: Json;
  readonly steps: Json[];
  readonly compare?: Rule[];
  /** The version that was recorded. */
  readonly cog?: string;
}
// biome-ignore-end lint/suspicious/noExplicitAny: as above

/** A step counts on something to have happened, or not, after so many milliseconds: a busy machine may have been too slow. */
const timed = /"(ms|afterMs|minMs|maxMs|everyMs|gapsMs|spread|settleMs|delayMs|timeoutMs)":|"op":"webhooks"/;
const attempts = 3;

/**
 * Replays one recorded case against a fresh server, or a shared one that keeps no state; returns how our answers differ.
 * `isKnown` tells the differences that are meant.
 */
export async function replay(
  recorded: Case,
  shared: SharedServers,
  isKnown: (difference: string) => boolean,
): Promise<string[]> {
  const isTimed = timed.test(JSON.stringify([recorded.steps, recorded.services ?? null]));
  let found: string[] = [];
  for (let attempt = 1; attempt <= (isTimed ? attempts : 1); attempt++) {
    found = isShareable(recorded)
      ? await shared.use(recorded.fixture, (server) => replayOn(recorded, server))
      : await replayOn(recorded, null);
    if (found.every(isKnown)) break;
  }
  return found;
}

async function replayOn(recorded: Case, server: ServerProcess | null): Promise<string[]> {
  const session = await Session.start(recorded, server);
  try {
    const found: string[] = [];
    for (const [index, step] of recorded.steps.entries()) {
      const place = `.${index}${step.name ? `-${step.name}` : ""}`;
      const actual = await session.perform(step);
      if (step.answer === undefined || actual === undefined) continue;
      found.push(...differences(expectedOf(step), session.normalized(actual), place, recorded.compare ?? []));
    }
    return found;
  } finally {
    await session.end();
  }
}

/** What may differ by the rules of the recordings is made equal here, on the side of the expectation. */
function expectedOf(step: Json): Json {
  const expected = structuredClone(step.answer);
  if (expected.events) expected.events = joinedLogs(expected.events);
  if (expected.headers) expected.headers = countedHeaders(expected.headers, expected.status);
  return expected;
}

function countedHeaders(headers: Record<string, string>, status: number): Record<string, unknown> {
  const type = headers["content-type"];
  // Where the real server answers with text, JSON is fine too.
  const isText = type?.startsWith("text/plain") || status >= 400;
  return {
    ...(type === undefined || isText ? {} : { "content-type": type }),
    ...(headers.allow === undefined
      ? {}
      : {
          // A set: our own recordings have it as a list.
          allow: String(headers.allow)
            .split(",")
            .map((name) => name.trim())
            .sort(),
        }),
    ...(type === "text/event-stream" ? { "cache-control": headers["cache-control"] } : {}),
  };
}

/** Neighbouring log events of one source may be cut differently. */
function joinedLogs(events: Json[]): Json[] {
  const joined: Json[] = [];
  for (const item of events) {
    const last = joined.at(-1);
    if (item.event === "log" && last?.event === "log" && last.data.source === item.data.source) {
      last.data.data += item.data.data;
    } else joined.push(structuredClone(item));
  }
  return joined;
}

export type { StartFixture } from "./shared-servers.ts";

/** The steps of one case, done with a server and the receivers it talks to. */
export class Session {
  readonly #sink: Receiver;
  readonly #upload: Receiver;
  readonly #files: Receiver;
  readonly #closed: string;
  readonly #exchanges = new Map<string, Exchange>();
  #server: ServerProcess | null = null;
  #isLent = false;

  readonly #startFixture: StartFixture;

  private constructor(receivers: Receiver[], closed: string, start: StartFixture) {
    this.#startFixture = start;
    [this.#sink, this.#upload, this.#files] = receivers as [Receiver, Receiver, Receiver];
    this.#closed = closed;
  }

  /** `lent`: a server that is there already. `start` starts one with a fixture; ours, if nothing else is said. */
  static async start(recorded: Case, lent: ServerProcess | null, start = startFixture): Promise<Session> {
    const { sink, upload, files } = recorded.services ?? {};
    const receivers = [
      await Receiver.start(scriptFor(sink)),
      await Receiver.start(scriptFor(upload)),
      await Receiver.start(({ path }) => files?.[path] ?? { status: 404 }),
    ];
    const session = new Session(receivers, `http://127.0.0.1:${await freePort()}`, start);
    if (lent !== null) {
      session.#server = lent;
      session.#isLent = true;
    } else if (recorded.server !== null) {
      const { env, flags, wait_for } = recorded.server;
      try {
        await session.#startServer(recorded.fixture, env, flags);
        await session.#server!.until(...(wait_for === null ? [] : [wait_for].flat()));
      } catch (error) {
        await session.end();
        throw error;
      }
    }
    return session;
  }

  async end(): Promise<void> {
    for (const exchange of this.#exchanges.values()) exchange.close();
    for (const receiver of [this.#sink, this.#upload, this.#files]) receiver.close();
    if (!this.#isLent) await this.#server?.kill();
  }

  normalized(value: unknown): unknown {
    const addresses = new Map<string, string>();
    for (const [name, url] of this.#addresses()) addresses.set(url.replace("http://", ""), `{{${name}}}`);
    return normalized(value, addresses);
  }

  async perform(step: Json): Promise<Json> {
    switch (step.op) {
      case "http":
        return this.#http(step);
      case "await":
        return this.#answerOf(step, await this.#exchanges.get(step.ref)!.answer);
      case "close":
        this.#exchanges.get(step.ref)!.close();
        return undefined;
      case "events":
        return { reached: await poll(() => this.#exchanges.get(step.ref)!.count(step.event) >= step.count, 10_000) };
      case "sleep":
        await sleep(step.ms);
        return undefined;
      case "health":
        return this.#health(step);
      case "poll":
        return this.#poll(step);
      case "repeat":
        return this.#repeat(step);
      case "start":
        return this.#start(step);
      case "signal":
        if (step.afterMs) await sleep(step.afterMs);
        this.#server!.child.kill(step.signal);
        return undefined;
      case "exit":
        return Promise.race([this.#server!.exited, sleep(step.timeoutMs ?? 15_000, { code: "still running" })]);
      case "alive":
        return { alive: this.#server!.child.exitCode === null && this.#server!.child.signalCode === null };
      case "webhooks":
        return this.#webhooks(step);
      case "uploads":
        await this.#upload.until((received) => received.length >= step.count, step.timeoutMs ?? 5000);
        if (step.settleMs) await sleep(step.settleMs);
        return { uploads: requestsOf(this.#upload, step.answer.uploads) };
      case "downloads":
        return { requests: requestsOf(this.#files, step.answer.requests).map(({ body: _, ...rest }) => rest) };
      case "tmpfiles":
        return { files: readdirSync(this.#server!.tempDir) };
      default:
        throw new Error(`unknown step ${step.op}`);
    }
  }

  #addresses(): [string, string][] {
    return [
      ["sink", this.#sink.url],
      ["upload", this.#upload.url],
      ["files", this.#files.url],
      ["closed", this.#closed],
    ];
  }

  #filled(text: string): string {
    return this.#addresses().reduce((filled, [name, url]) => filled.replaceAll(`{{${name}}}`, url), text);
  }

  async #startServer(fixture: string, env: Record<string, string | null>, flags: string[]): Promise<void> {
    await this.#server?.kill();
    const extra: Record<string, string | null> = { ...env };
    for (const [name, value] of Object.entries(env)) if (value !== null) extra[name] = this.#filled(value);
    this.#server = await this.#startFixture(
      fixture,
      extra,
      flags.map((flag) => this.#filled(flag)),
    );
  }

  async #start(step: Json): Promise<Json> {
    await this.#startServer(step.fixture, step.env ?? {}, step.flags ?? []);
    const server = this.#server!;
    const exited = server.exited.then((exit) => ({ status: null, exited: exit }));
    const ready = server.until(...[step.until].flat()).then(({ status }) => ({ status }));
    ready.catch(() => {});
    return Promise.race([ready, exited]);
  }

  async #http(step: Json): Promise<Json> {
    if (step.afterMs) await sleep(step.afterMs);
    const exchange = this.#send(step);
    if (step.as) {
      this.#exchanges.set(step.as, exchange);
      return undefined;
    }
    return this.#answerOf(step, await exchange.answer);
  }

  #send(step: Json, number = 0): Exchange {
    const text = (value: Json) => this.#filled(expanded(value)).replaceAll("{{i}}", String(number));
    const headers = Object.entries(step.headers).map(([name, value]) => [name, text(value)]);
    return new Exchange(this.#server!.url, {
      method: step.method,
      path: text(step.path),
      headers: Object.fromEntries(headers),
      body:
        step.body === undefined
          ? null
          : step.body.hex
            ? Buffer.from(step.body.hex, "hex")
            : Buffer.from(text(step.body)),
    });
  }

  #answerOf(step: Json, answer: Incoming): Json {
    const expected = step.answer;
    const ours: Json = { status: answer.status };
    if (expected.headers) ours.headers = countedHeaders(answer.headers, answer.status);
    if (expected.events) ours.events = joinedLogs(answer.events ?? []);
    else if ("json" in expected) ours.json = withFreeLogs(expected.json, parsed(answer.text));
    else if ("text" in expected)
      ours.text = JSON.parse(answer.text.startsWith("{") ? "null" : '""') ?? noDetail(answer.text);
    else if (expected.empty) ours.empty = answer.text === "";
    if ("raw" in expected) ours.raw = answer.text;
    if (expected.contains) ours.contains = containing(step.contains, answer.text);
    if ("in_time" in expected)
      ours.in_time = answer.tookMs >= (step.minMs ?? 0) && answer.tookMs <= (step.maxMs ?? 1e9);
    if ("live" in expected) ours.live = answer.outputTimes.at(-1)! - answer.outputTimes[0]! >= step.spread;
    return ours;
  }

  async #health(step: Json): Promise<Json> {
    const wanted = step.until === undefined ? [] : [step.until].flat();
    const end = performance.now() + (step.timeoutMs ?? 15_000);
    for (;;) {
      const response = await fetch(`${this.#server!.url}/health-check`, { headers: { connection: "close" } }).catch(
        () => null,
      );
      const body = (await response?.json()) as Json;
      if (body && (wanted.length === 0 || wanted.includes(body.status) || performance.now() > end)) {
        const { status, user_healthcheck_error } = body;
        const short = user_healthcheck_error === undefined ? { status } : { status, user_healthcheck_error };
        return {
          http: response!.status,
          body: step.full ? withOwnSetupLogs(step.answer.body, body) : short,
          ...(step.contains ? { contains: containing(step.contains, JSON.stringify(body)) } : {}),
        };
      }
      await sleep(30);
    }
  }

  async #poll(step: Json): Promise<Json> {
    const seen: string[] = [];
    let inTime = true;
    const end = performance.now() + step.ms;
    while (performance.now() < end) {
      const started = performance.now();
      const { status } = await this.#server!.health();
      inTime &&= performance.now() - started <= step.maxMs;
      if (seen.at(-1) !== status) seen.push(status as string);
      await sleep(step.everyMs);
    }
    return { seen, all_in_time: inTime };
  }

  async #repeat(step: Json): Promise<Json> {
    const answers: Incoming[] = [];
    const started = performance.now();
    const sendOne = async (number: number) => {
      answers[number] = await this.#send(step.step, number).answer;
    };
    const numbers = Array.from({ length: step.times }, (_, number) => number);
    if (step.parallel) await Promise.all(numbers.map(sendOne));
    else for (const number of numbers) await sendOne(number);
    const statuses: Record<string, number> = {};
    for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1;
    return {
      statuses,
      ...(step.bodies ? { bodies: answers.map(({ text }) => parsed(text)) } : {}),
      ...(step.maxMs ? { in_time: performance.now() - started <= step.maxMs } : {}),
    };
  }

  async #webhooks(step: Json): Promise<Json> {
    const wanted = step.completed ?? 1;
    await this.#sink.until((received) => received.filter(isTerminal).length >= wanted, step.timeoutMs ?? 15_000);
    if (step.settleMs) await sleep(step.settleMs);
    const terminal = this.#sink.received.filter(isTerminal);
    const bodies = this.#sink.bodies;
    const result: Json = {};
    if (step.counts) {
      result.counts = { total: bodies.length, terminal: terminal.length };
      if (step.counts === "outputs") {
        result.counts.with_output = bodies.filter((body) => body.status === "processing" && "output" in body).length;
        // Several events may carry the same output (a log line after it); each output counts once.
        const outputs = bodies
          .filter((body) => body.status === "processing")
          .map((body) => (body.output as [])?.length ?? 0);
        result.counts.with_output = new Set(outputs.filter((length) => length > 0)).size;
      }
      result.last = terminal.length === 0 ? null : JSON.parse(terminal.at(-1)!.body.toString());
    } else {
      result.deliveries = requestsOf(this.#sink, step.answer.deliveries, false).map((request) => ({
        ...request,
        body: JSON.parse(request.body),
      }));
    }
    if (step.contains) result.contains = containing(step.contains, JSON.stringify(bodies));
    if (step.maxTotal !== undefined) result.at_most = bodies.length <= step.maxTotal;
    if (step.gapsMs) {
      result.gaps_ok = step.gapsMs.every(([least, most]: [number, number], index: number) => {
        const gap = terminal[index + 1]!.at - terminal[index]!.at;
        // A busy machine makes it longer; that it grows with each attempt is what matters.
        return gap >= least && gap <= most * 4;
      });
    }
    return result;
  }
}

function scriptFor(script: Json): (request: Received, index: number) => ScriptedAnswer {
  let used = 0;
  return (request) => {
    if (script?.answers === undefined) return {};
    if (script.only === "completed" && !isTerminal(request)) return {};
    if (script.only === "start" && isTerminal(request)) return {};
    const answer = script.answers[Math.min(used, script.answers.length - 1)];
    used += 1;
    return answer;
  };
}

function isTerminal({ body }: Received): boolean {
  return ["succeeded", "failed", "canceled"].includes((parsed(body.toString()) as Json)?.status);
}

function requestsOf(receiver: Receiver, expected: Json[], sorted = true): Json[] {
  const wanted = new Set(expected.flatMap((request) => Object.keys(request.headers ?? {})));
  const requests = receiver.received.map(({ method, path, headers, body }) => ({
    method,
    path,
    headers: Object.fromEntries([...wanted].map((name) => [name, headers[name] ?? null])),
    body: body.toString(),
  }));
  return sorted ? requests.sort((a, b) => (a.path < b.path ? -1 : 1)) : requests;
}

function expanded(value: Json): string {
  if (typeof value === "string") return value;
  return (value.before ?? "") + value.repeat.repeat(value.times) + (value.after ?? "");
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return `no JSON: ${text.slice(0, 200)}`;
  }
}

function noDetail(text: string): Json {
  return "detail" in parsed(text) ? { detail: true } : "";
}

function containing(texts: string[], body: string): Record<string, boolean> {
  return Object.fromEntries(texts.map((text) => [text, body.toLowerCase().includes(text.toLowerCase())]));
}

/** Failed and canceled sync answers have no logs upstream; real logs are allowed. */
function withFreeLogs(expected: Json, actual: Json): Json {
  const isFree = expected?.logs === "" && ["failed", "canceled"].includes(expected.status);
  return isFree && typeof actual?.logs === "string" ? { ...actual, logs: "" } : actual;
}

/** Of setup logs only the predictor's own lines count; they must be contained in ours. */
function withOwnSetupLogs(expected: Json, actual: Json): Json {
  const own = String(expected.setup?.logs ?? "")
    .split("\n")
    .filter((line: string) => line.startsWith("[coglet::setup]"));
  const logs: string = actual.setup?.logs ?? "";
  if (expected.setup?.logs === undefined || !own.every((line: string) => logs.includes(line))) return actual;
  return { ...actual, setup: { ...actual.setup, logs: expected.setup.logs } };
}

async function poll(test: () => boolean, limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (!test()) {
    if (performance.now() > end) return false;
    await sleep(20);
  }
  return true;
}
