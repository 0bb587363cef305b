import { spawnSync } from "node:child_process";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import Replicate from "replicate";
import { request } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ownRecordings, startFixture } from "./conformance/collection.ts";
import { buildDist, type ServerProcess } from "./server-process.ts";

// Any version will do: a server holds one model.
const version = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const reference = `someone/something:${version}` as const;

let greet: ServerProcess;
let pages: ServerProcess;
let ticker: ServerProcess;

beforeAll(async () => {
  buildDist();
  [greet, pages, ticker] = await Promise.all([
    startFixture(ownRecordings, "greet"),
    startFixture(ownRecordings, "pages"),
    startFixture(ownRecordings, "ticker"),
  ]);
  await Promise.all([greet.until("READY"), pages.until("READY"), ticker.until("READY")]);
});
afterAll(() => Promise.all([greet, pages, ticker].map((server) => server?.kill())));

async function startLater(server: ServerProcess, id: string, input: object): Promise<void> {
  const { statusCode, body } = await request(`${server.url}/predictions`, {
    method: "POST",
    headers: { "content-type": "application/json", prefer: "respond-async" },
    body: JSON.stringify({ id, input }),
  });
  expect(statusCode).toBe(202);
  await body.dump();
}

describe("the replicate client", () => {
  const clientOf = ({ url }: ServerProcess) =>
    new Replicate({ auth: "any", baseUrl: url, fileEncodingStrategy: "data-uri" });

  it("creates a prediction and waits for it", async () => {
    const prediction = await clientOf(greet).predictions.create({ version, input: { name: "Ada" }, wait: true });
    expect(prediction).toMatchObject({ status: "succeeded", output: "good morning, Ada" });
  });

  it("runs the model", async () => {
    expect(await clientOf(greet).run(reference, { input: { name: "Ada", loud: true } })).toBe("GOOD MORNING, ADA");
  });

  it("runs the model by polling", async () => {
    const output = await clientOf(greet).run(reference, { input: { name: "Ada" }, wait: { mode: "poll" } });
    expect(output).toBe("good morning, Ada");
  });

  it("learns that a run has failed", async () => {
    const run = clientOf(greet).run(reference, { input: { name: "nobody" } });
    await expect(run).rejects.toThrow("there is nobody to greet");
  });

  it("learns that an input is wrong", async () => {
    await expect(clientOf(greet).run(reference, { input: { name: 5 } })).rejects.toThrow("422");
  });

  it("gets a prediction, running and ended", async () => {
    const client = clientOf(greet);
    await startLater(greet, "read-me", { name: "Ada", pause: 0.5 });
    expect(await client.predictions.get("read-me")).toMatchObject({ id: "read-me", input: { name: "Ada" } });
    const ended = await client.wait(await client.predictions.get("read-me"), { interval: 50 });
    expect(ended).toMatchObject({ status: "succeeded", output: "good morning, Ada" });
  });

  it("cancels a prediction", async () => {
    const client = clientOf(greet);
    await startLater(greet, "cancel-me", { name: "Ada", pause: 50 });
    await client.predictions.cancel("cancel-me");
    const ended = await client.wait(await client.predictions.get("cancel-me"), { interval: 50 });
    expect(ended.status).toBe("canceled");
  });

  it("sends files and receives them", async () => {
    const output = (await clientOf(pages).run(reference, {
      input: { page: new Blob(["a llama"], { type: "text/plain" }), copies: 2 },
    })) as { blob(): Promise<Blob> }[];
    const texts = await Promise.all(output.map(async (file) => (await file.blob()).text()));
    expect(texts).toEqual(["0: A LLAMA", "1: A LLAMA"]);
  });

  it("cannot stream: answers hold no URLs", async () => {
    const stream = clientOf(ticker).stream(reference, { input: {} });
    await expect(stream.next()).rejects.toThrow("does not support streaming");
  });
});

describe("undici", () => {
  it("predicts", async () => {
    const { statusCode, headers, body } = await request(`${greet.url}/predictions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ input: { name: "Ada" } }),
    });
    expect(statusCode).toBe(200);
    expect(headers["content-type"]).toBe("application/json");
    expect(await body.json()).toMatchObject({ status: "succeeded", output: "good morning, Ada" });
  });

  it("keeps its connection after a refusal", async () => {
    for (const [input, expected] of [
      [{}, 422],
      [{ name: "Ada" }, 200],
    ] as const) {
      const { statusCode, body } = await request(`${greet.url}/predictions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ input }),
      });
      await body.dump();
      expect(statusCode).toBe(expected);
    }
  });
});

const hasCurl = spawnSync("curl", ["--version"]).status === 0;
// Where curl is not installed there is nothing to try.
describe.skipIf(!hasCurl)("curl", () => {
  const curl = (...args: string[]) =>
    spawnSync("curl", ["-sS", "--max-time", "20", ...args], { encoding: "utf8" }).stdout;

  it("predicts with the usual line", () => {
    const answer = curl(
      `${greet.url}/predictions`,
      ...["-X", "POST", "-H", "Content-Type: application/json", "-d", '{"input": {"name": "Ada"}}'],
    );
    expect(JSON.parse(answer)).toMatchObject({ status: "succeeded", output: "good morning, Ada" });
  });

  it("sends a large body, which it announces with Expect: 100-continue", () => {
    const body = JSON.stringify({ input: { name: "A".repeat(1_100_000) } });
    const { stdout } = spawnSync(
      "curl",
      [
        "-sS",
        `${greet.url}/predictions`,
        "-H",
        "Content-Type: application/json",
        "-H",
        "Expect: 100-continue",
        "-d",
        "@-",
      ],
      { input: body, encoding: "utf8", maxBuffer: 1e8 },
    );
    expect(JSON.parse(stdout).output).toHaveLength("good morning, ".length + 1_100_000);
  });

  it("shows a stream", () => {
    const text = curl(
      "-N",
      `${ticker.url}/predictions`,
      ...["-H", "Content-Type: application/json", "-H", "Accept: text/event-stream", "-d", '{"input": {"ticks": 2}}'],
    );
    expect(text.match(/^event: .*$/gm)).toContain("event: completed");
    expect(text).toContain("tick 1");
  });
});

describe("an EventSource-style client", () => {
  async function eventsOf(response: Response): Promise<EventSourceMessage[]> {
    const events: EventSourceMessage[] = [];
    const parser = createParser({ onEvent: (event) => events.push(event) });
    const decoder = new TextDecoder();
    for await (const piece of response.body!) parser.feed(decoder.decode(piece, { stream: true }));
    return events;
  }

  it("reads the events of a prediction in their order", async () => {
    const response = await fetch(`${ticker.url}/predictions`, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify({ input: { ticks: 3 } }),
    });
    const events = await eventsOf(response);
    const outputs = events.filter(({ event }) => event === "output").map(({ data }) => JSON.parse(data).chunk);
    expect(outputs).toEqual(["tick 0", "tick 1", "tick 2"]);
    expect(events[0]!.event).toBe("start");
    expect(events.at(-1)!.event).toBe("completed");
    expect(JSON.parse(events.at(-1)!.data)).toMatchObject({ status: "succeeded" });
  });

  it("follows a run that another client has started", async () => {
    await startLater(ticker, "followed", { ticks: 3, pause: 0.2 });
    const response = await fetch(`${ticker.url}/predictions/followed`, {
      method: "PUT",
      headers: { "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify({ input: { ticks: 3, pause: 0.2 } }),
    });
    expect((await eventsOf(response)).filter(({ event }) => event === "output")).toHaveLength(3);
  });
});
