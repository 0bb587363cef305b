import type { Json } from "./case.ts";
import type { Incoming } from "./client.ts";

/** What may differ by the rules of the recordings is made equal here, on the side of the expectation. */
export function expectedOf(step: Json): Json {
  const expected = structuredClone(step.answer);
  if (expected.events) expected.events = joinedLogs(expected.events);
  if (expected.deliveries) expected.deliveries = inFreeOrder(expected.deliveries);
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
          allow: headers.allow
            .split(",")
            .map((name) => name.trim())
            .sort(),
        }),
    ...(type === "text/event-stream" ? { "cache-control": headers["cache-control"] } : {}),
  };
}

/** The real server's webhooks overtake each other: those before the end by content, then the terminal ones. */
export function inFreeOrder(deliveries: Json[]): Json[] {
  const text = (value: Json): string =>
    JSON.stringify(value, (_key, part) =>
      typeof part === "object" && part !== null && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
        : part,
    );
  const isEnd = ({ body }: Json) => body.status !== "processing";
  const others = deliveries.filter((one) => !isEnd(one)).sort((a, b) => (text(a) < text(b) ? -1 : 1));
  return [...others, ...deliveries.filter(isEnd)];
}

/** Ours come in the order in which things happened: logs and outputs only grow, and nothing follows the end. */
export function isInOrder(deliveries: Json[]): boolean {
  const size = ({ body }: Json) => body.logs.length + (Array.isArray(body.output) ? body.output.length : 0);
  return deliveries.every((one, index) => {
    const next = deliveries[index + 1];
    if (next === undefined) return true;
    return one.body.status === "processing"
      ? next.body.status !== "processing" || size(one) <= size(next)
      : size(one) === size(next);
  });
}

/** Neighbouring log events of one source may be cut differently. */
export function joinedLogs(events: Json[]): Json[] {
  const joined: Json[] = [];
  for (const item of events) {
    const last = joined.at(-1);
    if (item.event === "log" && last?.event === "log" && last.data.source === item.data.source) {
      last.data.data += item.data.data;
    } else joined.push(structuredClone(item));
  }
  return joined;
}

/** An answer in the shape of a recorded one: the same parts of it. */
export function shapedLike(expected: Json, answer: Incoming): Json {
  const ours: Json = { status: answer.status };
  if (expected.headers) ours.headers = countedHeaders(answer.headers, answer.status);
  if (expected.events) ours.events = joinedLogs(answer.events ?? []);
  else if ("json" in expected) ours.json = withFreeLogs(expected.json, parsed(answer.text));
  else if ("text" in expected)
    ours.text = JSON.parse(answer.text.startsWith("{") ? "null" : '""') ?? noDetail(answer.text);
  else if (expected.empty) ours.empty = answer.text === "";
  if ("raw" in expected) ours.raw = answer.text;
  return ours;
}

/** An answer as it is recorded. */
export function observed({ status, headers, text, events }: Incoming): Json {
  const type = headers["content-type"];
  const counted = ["content-type", "allow", ...(events === null ? [] : ["cache-control"])];
  const kept = counted.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]]));
  return {
    status,
    ...(kept.length === 0 ? {} : { headers: Object.fromEntries(kept) }),
    ...(events !== null
      ? { events }
      : text === ""
        ? { empty: true }
        : type === "application/json"
          ? { json: JSON.parse(text) }
          : { text }),
  };
}

/** Failed and canceled sync answers have no logs upstream; real logs are allowed. */
function withFreeLogs(expected: Json, actual: Json): Json {
  const isFree = expected?.logs === "" && ["failed", "canceled"].includes(expected.status);
  return isFree && typeof actual?.logs === "string" ? { ...actual, logs: "" } : actual;
}

/** Of setup logs only the predictor's own lines count; they must be contained in ours. */
export function withOwnSetupLogs(expected: Json, actual: Json): Json {
  const own = String(expected.setup?.logs ?? "")
    .split("\n")
    .filter((line: string) => line.startsWith("[coglet::setup]"));
  const logs: string = actual.setup?.logs ?? "";
  if (expected.setup?.logs === undefined || !own.every((line: string) => logs.includes(line))) return actual;
  return { ...actual, setup: { ...actual.setup, logs: expected.setup.logs } };
}

export function containing(texts: string[], body: string): Record<string, boolean> {
  return Object.fromEntries(texts.map((text) => [text, body.toLowerCase().includes(text.toLowerCase())]));
}

function noDetail(text: string): Json {
  return "detail" in parsed(text) ? { detail: true } : "";
}

export function parsed(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return `no JSON: ${text.slice(0, 200)}`;
  }
}
