import type { Case, Json } from "../../test/cog/conformance/case.ts";

const jsonType = { "Content-Type": "application/json" };

/** A case as it is written down here: no answers yet. */
export function scene(id: string, title: string, fixture: string, steps: Json[], more: Partial<Case> = {}): Case {
  return { id, title, fixture, server: { env: {}, flags: [], wait_for: "READY" }, ...more, steps };
}

/** One request, with only the headers given. */
export function send(method: string, path: string, more: Json = {}): Json {
  return { op: "http", method, path, headers: {}, ...more };
}

/** POST /predictions, or what `more` says, with a JSON body. */
export function create(body: Json, { headers = {}, method = "POST", path = "/predictions", ...more }: Json = {}): Json {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { op: "http", method, path, headers: { ...jsonType, ...headers }, body: text, ...more };
}

export const predict = (input: Json, more: Json = {}): Json => create({ input }, more);

export const async = { Prefer: "respond-async" };
export const stream = { Accept: "text/event-stream" };
