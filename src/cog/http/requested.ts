import type { IncomingMessage } from "node:http";

/** How a client asks to be answered. */
export type Mode = "stream" | "async" | "sync";

/** By Accept, where it names event streams, else by Prefer. */
export function modeOf(req: IncomingMessage): Mode {
  const accept = req.headers.accept;
  if (accept?.includes("text/event-stream")) {
    if (accept.split(",").some((item) => item.split(";")[0]!.trim() === "text/event-stream")) return "stream";
  }
  return req.headers.prefer === "respond-async" ? "async" : "sync";
}

/** W3C Trace Context, as the run and its webhooks hand it on. */
export function traceHeaders(req: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of ["traceparent", "tracestate"]) {
    const value = req.headers[name];
    if (typeof value === "string") headers[name] = value;
  }
  return headers;
}
