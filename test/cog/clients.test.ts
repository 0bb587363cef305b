import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { text as readText } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { type EventSourceMessage, EventSourceParserStream } from "eventsource-parser/stream";
import Replicate from "replicate";
import { Client, Pool, request } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

// Clients that know nothing of this server: the official package for Replicate, undici, curl, readers of event streams.
const folder = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
let steps: ServerProcess;
let classifier: ServerProcess;
beforeAll(async () => {
  buildDist();
  steps = await startServerProcess({ dir: folder("steps") });
  classifier = await startServerProcess({ dir: folder("classifier") });
  await Promise.all([steps.until("READY"), classifier.until("READY")]);
});
afterAll(() => Promise.all([steps?.kill(), classifier?.kill()]));

const dataset = "fruit: sweet red apple\nfruit: yellow banana\nanimal: the cat sleeps\nanimal: a dog barks\n";
const json = { "content-type": "application/json" };

describe("the replicate package", () => {
  const version = "0000000000000000000000000000000000000000000000000000000000000000";
  const replicate = ({ url }: ServerProcess) => new Replicate({ baseUrl: url, auth: "anything", useFileOutput: false });
  // Beyond its types: what it is given besides is sent along.
  const named = (id: string, input: object) => ({ version, id, input });

  it("creates a prediction and gets it again", async () => {
    const client = replicate(steps);
    const prediction = await client.predictions.create({ version, input: { steps: 2 } });
    expect(prediction).toMatchObject({ status: "succeeded", output: ["s0", "s1"], logs: "step 0\nstep 1\n" });
    expect(await client.predictions.get(prediction.id)).toMatchObject({ ...prediction, input: { steps: 2 } });
  });

  it.each([true, 5])("waits with the answer when it is asked to: %s", async (wait) => {
    const prediction = await replicate(steps).predictions.create({ version, input: { end: "wait" }, wait });
    expect(prediction).toMatchObject({ status: "succeeded", output: ["s0"] });
  });

  it("gets, waits for and cancels one that runs", async () => {
    const client = replicate(steps);
    const created = client.predictions.create(named("running", { end: "never" }));
    await expect
      .poll(() => client.predictions.get("running").catch(() => null))
      .toMatchObject({ status: "processing" });
    const waited = client.wait(await client.predictions.get("running"), { interval: 20 });
    await client.predictions.cancel("running");
    expect(await created).toMatchObject({ id: "running", status: "canceled" });
    expect(await waited).toMatchObject({ id: "running", status: "canceled" });
    await expect(client.predictions.cancel("running")).rejects.toThrow("404");
  });

  it.each([{ mode: "block" }, { mode: "poll", interval: 20 }] as const)("runs a model: %o", async (wait) => {
    const seen: string[] = [];
    const input = { steps: 3 };
    const output = await replicate(steps).run(`any/model:${version}`, { input, wait }, ({ status }) =>
      seen.push(status),
    );
    expect(output).toEqual(["s0", "s1", "s2"]);
    expect(seen.at(-1)).toBe("succeeded");
  });

  it("throws what a failed run says, and what is wrong with an input", async () => {
    const client = replicate(steps);
    const failed = client.run(`any/model:${version}`, { input: { end: "throw" } });
    await expect(failed).rejects.toThrow("Prediction failed: no more steps");
    const refused = client.run(`any/model:${version}`, { input: { steps: "many" } });
    await expect(refused).rejects.toThrow(/422.*is not of type/);
  });

  it("sends files as data URLs, and is handed files", async () => {
    const client = replicate(classifier);
    const training = await fetch(`${classifier.url}/trainings`, {
      method: "POST",
      headers: json,
      body: JSON.stringify({ input: { dataset: `data:text/plain,${encodeURIComponent(dataset)}` } }),
    });
    const { output } = (await training.json()) as { output: { weights: string } };
    const input = { text: "a red apple", weights: output.weights };
    expect(await client.run(`any/model:${version}`, { input })).toMatchObject({ label: "fruit" });
  });

  it("sends nothing of an input with its own strategy data-uri: until it does, files are data URLs to begin with", async () => {
    const { url } = classifier;
    let sent = "";
    const see = (address: Parameters<typeof fetch>[0], init?: RequestInit) => {
      sent = String(init?.body);
      return fetch(address, init);
    };
    const client = new Replicate({
      baseUrl: url,
      auth: "t",
      fileEncodingStrategy: "data-uri",
      fetch: see as typeof fetch,
    });
    await expect(client.run(`any/model:${version}`, { input: { text: "a red apple" } })).rejects.toThrow(
      "Field required",
    );
    // Up to 1.4.0 it puts itself in the input's place.
    expect(JSON.parse(sent).input).toMatchObject({ baseUrl: url });
  });

  it("has no stream here: answers carry no URLs", async () => {
    const stream = replicate(steps).stream(`any/model:${version}`, { input: {} });
    await expect(stream.next()).rejects.toThrow("does not support streaming");
  });
});

describe("undici", () => {
  it("keeps its connections, and may send the next request before the answer", async () => {
    const pool = new Pool(classifier.url, { connections: 2 });
    const body = JSON.stringify({ input: { text: "x" } });
    const ask = (dispatcher: Pool | Client) =>
      dispatcher
        .request({ method: "POST", path: "/predictions", headers: json, body })
        .then((answer) => answer.body.json());
    const answers = await Promise.all(Array.from({ length: 4 }, () => ask(pool)));
    const error = "nothing was learnt yet. Give weights, or set COG_WEIGHTS.";
    expect(answers).toMatchObject(new Array(4).fill({ status: "failed", error }));
    await pool.close();
    const client = new Client(classifier.url, { pipelining: 4 });
    expect(await Promise.all([ask(client), ask(client), ask(client)])).toHaveLength(3);
    await client.close();
  });

  it("reads a stream as it comes, and cancels the run by leaving", async () => {
    const { statusCode, headers, body } = await request(`${steps.url}/predictions`, {
      method: "POST",
      headers: { ...json, accept: "text/event-stream" },
      body: JSON.stringify({ id: "left", input: { steps: 2, end: "never" } }),
    });
    expect([statusCode, headers["content-type"]]).toEqual([200, "text/event-stream"]);
    let text = "";
    for await (const chunk of body) {
      text += chunk;
      if (text.includes('"chunk":"s1"')) break;
    }
    body.destroy();
    const status = async () =>
      ((await (await fetch(`${steps.url}/predictions/left`)).json()) as { status: string }).status;
    await expect.poll(status).toBe("canceled");
  });
});

async function curl(...words: string[]): Promise<string> {
  const child = spawn("curl", ["-sS", "--max-time", "60", ...words], { stdio: ["ignore", "pipe", "inherit"] });
  const [output, [exit]] = await Promise.all([readText(child.stdout), once(child, "close")]);
  expect(exit).toBe(0);
  return output;
}

const hasCurl = spawnSync("curl", ["--version"]).status === 0;
describe.skipIf(!hasCurl)("curl (where it is installed)", () => {
  const type = ["-H", "Content-Type: application/json"];
  const data = ["-d", '{"input":{"steps":2}}'];

  it.each([
    ["as it comes", []],
    ["with HTTP/1.0", ["--http1.0"]],
    ["in chunks", ["-H", "Transfer-Encoding: chunked"]],
    ["waiting to be told to go on", ["-H", "Expect: 100-continue"]],
  ])("is answered: %s", async (_, words) => {
    const answer = await curl(`${steps.url}/predictions`, ...type, ...words, ...data);
    expect(JSON.parse(answer)).toMatchObject({ status: "succeeded", output: ["s0", "s1"] });
  });

  it("accepts a later answer, gets the run, and reads a stream", async () => {
    const put = ["-X", "PUT", `${steps.url}/predictions/curled`, ...type, "-H", "Prefer: respond-async"];
    expect(JSON.parse(await curl(...put, ...data))).toEqual({ id: "curled", status: "starting" });
    const get = async () => JSON.parse(await curl(`${steps.url}/predictions/curled`)).status;
    await expect.poll(get).toBe("succeeded");
    const stream = await curl("-N", `${steps.url}/predictions`, ...type, "-H", "Accept: text/event-stream", ...data);
    expect([...stream.matchAll(/^event: (\w+)$/gm)].map(([, name]) => name).join()).toBe(
      "start,log,output,log,output,completed",
    );
  });

  it("sends a file of megabytes from a file", async () => {
    const file = join(classifier.tempDir, "body.json");
    const weights = `data:application/json;base64,${Buffer.from(JSON.stringify({ a: { x: 1 }, b: {} }) + " ".repeat(7_000_000)).toString("base64")}`;
    writeFileSync(file, JSON.stringify({ input: { text: "x", weights } }));
    const answer = await curl(`${classifier.url}/predictions`, ...type, "--data-binary", `@${file}`);
    expect(JSON.parse(answer)).toMatchObject({ status: "succeeded", output: { label: "a" } });
  });
});

describe("a reader of event streams", () => {
  const events = (body: ReadableStream<Uint8Array>) =>
    body
      .pipeThrough(new TextDecoderStream() as never)
      .pipeThrough(new EventSourceParserStream()) as ReadableStream<EventSourceMessage>;

  it("understands the stream of a POST", async () => {
    const headers = { ...json, accept: "text/event-stream" };
    const body = JSON.stringify({ input: { steps: 2 } });
    const answer = await fetch(`${steps.url}/predictions`, { method: "POST", headers, body });
    const seen: [string | undefined, Record<string, unknown>][] = [];
    for await (const { event, data } of events(answer.body!)) seen.push([event, JSON.parse(data)]);
    expect(seen.filter(([event]) => event === "output").map(([, data]) => data)).toEqual([
      { chunk: "s0", index: 0 },
      { chunk: "s1", index: 1 },
    ]);
    expect(seen.at(-1)).toMatchObject(["completed", { status: "succeeded", output: ["s0", "s1"] }]);
  });

  it("comes back after a break and misses nothing, as a browser's EventSource does", async () => {
    const headers = { ...json, prefer: "respond-async" };
    const body = JSON.stringify({ input: { steps: 3, end: "wait", ms: 500 } });
    await fetch(`${steps.url}/predictions/broken`, { method: "PUT", headers, body });
    const seen: string[] = [];
    let lastId = "";
    for (let connections = 0; !seen.at(-1)?.startsWith("completed"); connections++) {
      expect(connections).toBeLessThan(5);
      const reconnect: Record<string, string> = lastId === "" ? {} : { "last-event-id": lastId };
      const answer = await fetch(`${steps.url}/predictions/broken/stream`, {
        headers: { accept: "text/event-stream", ...reconnect },
      });
      let count = 0;
      for await (const { id, event, data } of events(answer.body!)) {
        lastId = id!;
        seen.push(event === "output" ? `output ${JSON.parse(data).chunk}` : event!);
        count += 1;
        if (count === 3) break;
      }
    }
    const step = (index: number) => ["log", `output s${index}`];
    expect(seen).toEqual(["start", ...step(0), ...step(1), ...step(2), "completed"]);
  });
});
