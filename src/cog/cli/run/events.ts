/** One event of a `text/event-stream` answer, its data parsed. */
export interface ServerEvent {
  event: string;
  data: unknown;
}

/** Cuts an event stream into events. Comments (keep-alives) and events without data are passed over. */
export async function* serverEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const blocks = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
    rest = blocks.pop()!;
    for (const block of blocks) {
      const event = parsedBlock(block);
      if (event) yield event;
    }
  }
}

function parsedBlock(block: string): ServerEvent | undefined {
  let event = "message";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5));
  }
  return data.length === 0 ? undefined : { event, data: JSON.parse(data.join("\n")) };
}
