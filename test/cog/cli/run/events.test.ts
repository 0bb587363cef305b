import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { serverEvents } from "../../../../src/cog/cli/run/events.ts";

async function eventsOf(text: string, pieceBytes = 1): Promise<unknown[]> {
  const bytes = Buffer.from(text);
  const pieces = Array.from({ length: Math.ceil(bytes.length / pieceBytes) }, (_, i) =>
    bytes.subarray(i * pieceBytes, (i + 1) * pieceBytes),
  );
  const events: unknown[] = [];
  for await (const event of serverEvents(Readable.from(pieces))) events.push(event);
  return events;
}

describe("an event stream", () => {
  const expected = [
    { event: "output", data: { chunk: "é🦙" } },
    { event: "message", data: [1, 2] },
  ];

  it.each([
    ["\n", "LF"],
    ["\r\n", "CR LF"],
    ["\r", "CR"],
  ])("is cut at the ends of lines that servers use: %j (%s), wherever it is cut on its way", async (end) => {
    const lines = [
      ":keep",
      "",
      "event: output",
      'data: {"chunk":',
      'data: "é🦙"}',
      "",
      "event: empty",
      "",
      "data:[1,2]",
    ];
    const text = [...lines, "", ": the end", ""].join(end);
    for (const size of [1, 3, 7, 1000]) expect(await eventsOf(text, size)).toEqual(expected);
  });

  it("with other data than JSON says so", async () => {
    await expect(eventsOf("data: oops\n\n")).rejects.toThrow("The event stream holds data that is not JSON: oops");
  });
});
