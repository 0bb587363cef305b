import { describe, expect, it } from "vitest";
import { EventStream } from "../../../src/cog/prediction/event-stream.ts";

/** What a client that comes now gets: numbers and values, or the name of the only event. */
function replayed(stream: EventStream, after = 0): string[] {
  let text = "";
  stream.subscribe((part) => (text += part), { isNumbered: true, after });
  return [...text.matchAll(/(?:id: (\d+)\n)?event: (\w+)\ndata: (.*)\n/g)].map(([, id, name, data]) =>
    id === undefined ? `${name} ${data}` : `${id} ${JSON.parse(data!).value}`,
  );
}

const measured = (stream: EventStream, name: string, value: unknown) =>
  stream.publish("metric", { name, value, mode: "replace" }, name);

describe("the history of a stream", () => {
  it("holds the last of events that replace each other, in its place, so that a long run can still be joined", () => {
    const stream = new EventStream(4);
    stream.publish("log", { value: "begun" });
    for (let step = 1; step <= 500; step++) {
      measured(stream, "step", step);
      measured(stream, "loss", -step);
    }
    stream.publish("log", { value: "done" });
    expect(replayed(stream)).toEqual(["1 begun", "1000 500", "1001 -500", "1002 done"]);
    expect(replayed(stream, 1000)).toEqual(["1001 -500", "1002 done"]);
    expect(stream.size).toBeLessThan(300);
  });

  it("says where it was cut", () => {
    const stream = new EventStream(2);
    for (const value of [1, 2, 3, 4]) stream.publish("log", { value });
    measured(stream, "step", 5);
    measured(stream, "step", 6);
    expect(replayed(stream)).toEqual(['error {"error":"replay truncated","skipped":3}']);
    expect(replayed(stream, 3)).toEqual(["4 4", "6 6"]);
  });
});
