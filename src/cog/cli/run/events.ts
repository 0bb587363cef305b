import { createParser } from "eventsource-parser";
import { Failure } from "../failure.ts";

/** One event of a `text/event-stream` answer, its data parsed. */
export interface ServerEvent {
  event: string;
  data: unknown;
}

/** Cuts an event stream into events. Comments (keep-alives) and events without data are passed over. */
export async function* serverEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  const events: ServerEvent[] = [];
  const parser = createParser({
    onEvent: ({ event = "message", data }) => events.push({ event, data: parsed(data) }),
  });
  for await (const chunk of body) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    yield* events.splice(0);
  }
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw new Failure(`The event stream holds data that is not JSON: ${data.slice(0, 100)}`);
  }
}
