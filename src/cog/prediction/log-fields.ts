import type { LogFields } from "../log.ts";

const longestShownId = 256;

/** What every log record about a run carries. */
export function logFieldsOf(id: string, traceparent: string | undefined): LogFields {
  // An absent one leaves no key in the log's JSON.
  return { prediction_id: shownId(id), traceparent };
}

/** An id is any text; it must neither begin a line of its own in the log nor fill it. */
function shownId(id: string): string {
  return id.slice(0, longestShownId).replace(/[\p{Cc}\u2028\u2029]/gu, "?");
}
