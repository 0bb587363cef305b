import { createParser, type EventSourceMessage } from "eventsource-parser";
import { Failure } from "../../../terminal/failure.ts";

/** One event of a `text/event-stream` answer, its data parsed. */
export interface ServerEvent {
  event: string;
  data: unknown;
}

/** Cuts an event stream into events. Comments (keep-alives) and events without data are passed over. */
export async function* serverEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  const messages: EventSourceMessage[] = [];
  const pieces: string[] = [];
  const parser = createParser({ onEvent: (message) => messages.push(message) });
  const complete = function* () {
    parser.feed(pieces.splice(0).join(""));
    // Parsed one by one: those before one that cannot be read are not lost.
    for (const { event = "message", data } of messages.splice(0)) yield { event, data: parsed(data) };
  };
  for await (const chunk of body) {
    const text = decoder.decode(chunk, { stream: true });
    pieces.push(text);
    // The parser looks over an unfinished line again with every piece: a long one would cost the square of its length.
    if (/[\r\n]/.test(text)) yield* complete();
  }
  yield* complete();
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw new Failure(`The event stream holds data that is not JSON: ${data.slice(0, 100)}`);
  }
}
