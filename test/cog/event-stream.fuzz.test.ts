import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ServerEvent, serverEvents } from "../../src/cog/cli/run/events.ts";
import { EventStream, eventText } from "../../src/cog/prediction/event-stream.ts";
import { Failure } from "../../src/terminal/failure.ts";
import { bounded, expectLinear, soup } from "../fuzzing.ts";

const piece = fc.oneof(
  fc
    .tuple(fc.constantFrom("output", "logs", "completed"), fc.jsonValue())
    .map(([name, data]) => eventText(name, { data })),
  soup(["event:", "data:", "id:", ": keep-alive", "\n", "\r", "\r\n", "\n\n", "{", '"', "1", " ", "\ufeff"], 12),
);
const stream = fc.array(piece, { maxLength: 8 }).map((pieces) => Buffer.from(pieces.join("")));

/** The events, and "refused" at the end where the stream holds what is none. */
async function read(bytes: Buffer, cut: number): Promise<(ServerEvent | "refused")[]> {
  const chunks = (async function* () {
    for (let at = 0; at < bytes.length; at += cut) yield bytes.subarray(at, at + cut);
  })();
  const events: (ServerEvent | "refused")[] = [];
  try {
    for await (const event of serverEvents(chunks)) events.push(event);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    events.push("refused");
  }
  return events;
}

describe("whatever comes in an event stream, it", () => {
  it("is cut into events wherever the network cut it, or refused", async () => {
    const property = fc.asyncProperty(stream, fc.integer({ min: 1, max: 9 }), async (bytes, cut) => {
      expect(await read(bytes, cut)).toEqual(await read(bytes, bytes.length + 1));
    });
    await fc.assert(property, bounded);
  });

  it("gives back what was published, to those who come late and to those who come back too", async () => {
    const property = fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 8 }), fc.nat(8), async (values, after) => {
      const published = new EventStream(values.length + 1);
      for (const data of values) published.publish("output", { data });
      published.publishText("completed", "{}", true);
      let text = "";
      published.subscribe((part) => (text += part), { isNumbered: true, after });
      const events = (await read(Buffer.from(text), 7)).map((event) => event !== "refused" && event.data);
      const all = [...values.map((data) => JSON.parse(JSON.stringify({ data }))), {}];
      expect(events).toEqual(all.slice(after));
    });
    await fc.assert(property, bounded);
  });

  it.each([
    ["a long line", (n: number) => eventText("output", { data: "x".repeat(n) })],
    ["empty lines", (n: number) => "\n".repeat(n)],
    ["comments", (n: number) => ":\n".repeat(n / 2)],
    ["lines of one event", (n: number) => "data\n".repeat(n / 5)],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    await expectLinear(input, (text: string) => read(Buffer.from(text), 512));
  });
});
