import type { IncomingMessage } from "node:http";
import { type WebhookEvent, webhookEvents } from "../prediction/webhook.ts";
import { JsonError, outermostKeys, parseBodyJson } from "./body-json.ts";

/** What a create request says, before its input is looked at. */
export interface Envelope {
  readonly id: string | null;
  readonly input: unknown;
  readonly context: Readonly<Record<string, string>>;
  readonly webhook: string | null;
  readonly webhookEvents: ReadonlySet<WebhookEvent>;
}

export interface Refusal {
  readonly status: 400 | 415 | 422;
  readonly text: string;
}

/** There are four; some clients repeat them. */
const mostEvents = 100;
const allEvents: ReadonlySet<WebhookEvent> = new Set(webhookEvents);
const nothing: Envelope = { id: null, input: {}, context: {}, webhook: null, webhookEvents: allEvents };
const jsonType = /^application\/(?:[^;\s/]+\+)?json\s*(?:;|$)/i;
const knownKeys = ["id", "input", "context", "webhook", "webhook_events_filter"];

/** Is there a body to read? A request without a content type has none, whatever bytes follow. */
export function contentKind(req: IncomingMessage): "none" | "json" | "other" {
  const type = req.headers["content-type"];
  if (type === undefined) return "none";
  return type === "application/json" || jsonType.test(type) ? "json" : "other";
}

/** Reads an envelope; what does not fit is refused with the status Cog uses. */
export function readEnvelope(body: Buffer | null): Envelope | Refusal {
  if (body === null) return nothing;
  try {
    const { value, text } = parseBodyJson(body);
    return envelopeOf(value, text);
  } catch (error) {
    if (error instanceof JsonError) return { status: 400, text: error.message };
    throw error;
  }
}

function envelopeOf(value: unknown, text: string): Envelope | Refusal {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return wrong("the body must be an object");
  const given = value as Record<string, unknown>;
  const get = (key: string) => (Object.hasOwn(given, key) ? given[key] : undefined);
  if (mayRepeat(text)) {
    const keys = outermostKeys(text).filter((key) => knownKeys.includes(key));
    if (new Set(keys).size < keys.length) return wrong("a key is there twice");
  }
  const id = get("id") ?? null;
  if (id !== null && typeof id !== "string") return wrong("id must be text");
  const webhook = get("webhook") ?? null;
  if (webhook !== null && typeof webhook !== "string") return wrong("webhook must be text");
  const context = get("context");
  if (context !== undefined && !isTextMap(context)) return wrong("context must map names to text");
  const filter = get("webhook_events_filter");
  if (filter !== undefined && !isEventList(filter)) return wrongFilter(filter);
  return {
    id,
    input: get("input") ?? {},
    context: context ?? {},
    webhook,
    webhookEvents: filter === undefined ? allEvents : new Set(filter),
  };
}

/** A cheap look before the scan of the whole text: a known key twice anywhere, or written with escapes. */
function mayRepeat(text: string): boolean {
  return (
    text.includes("\\u00") ||
    knownKeys.some((key) => {
      const first = text.indexOf(`"${key}"`);
      return first >= 0 && text.indexOf(`"${key}"`, first + 1) >= 0;
    })
  );
}

function isTextMap(value: unknown): value is Record<string, string> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((item) => typeof item === "string");
}

function isEventList(value: unknown): value is WebhookEvent[] {
  return (
    Array.isArray(value) && value.length <= mostEvents && value.every((item) => allEvents.has(item as WebhookEvent))
  );
}

/** To Cog's reader an item that is neither text nor an object is a fault of syntax. */
function wrongFilter(filter: unknown): Refusal {
  const first: unknown = Array.isArray(filter) ? filter.find((item) => !allEvents.has(item)) : undefined;
  const isSyntax = first === null || Array.isArray(first) || typeof first === "number" || typeof first === "boolean";
  const text = `webhook_events_filter must be a list of ${webhookEvents.join(", ")}`;
  return { status: isSyntax ? 400 : 422, text };
}

function wrong(text: string): Refusal {
  return { status: 422, text };
}
