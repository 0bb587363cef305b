import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FinishedRuns } from "../../src/cog/prediction/finished-runs.ts";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/steps", import.meta.url));
let server: ServerProcess;
beforeAll(async () => {
  buildDist();
  server = await startServerProcess({ dir });
  await server.until("READY");
});
afterAll(() => server?.kill());

const json = { "content-type": "application/json" };
function put(path: string, input: object, headers: Record<string, string> = {}) {
  return fetch(server.url + path, { method: "PUT", headers: { ...json, ...headers }, body: JSON.stringify({ input }) });
}
const later = { prefer: "respond-async" };
const get = async (path: string, headers: Record<string, string> = {}) => {
  const response = await fetch(server.url + path, { headers });
  return { status: response.status, headers: response.headers, text: await response.text() };
};
const read = async (path: string) => JSON.parse((await get(path)).text) as Record<string, unknown>;
/** "id event" of each. */
const events = (text: string) =>
  [...text.matchAll(/(?:id: (\d+)\n)?event: (\w+)\ndata: .*\n\n/g)].map(([, id, name]) => `${id} ${name}`);

describe("GET of a run", () => {
  it("answers while it is in flight as PUT does", async () => {
    await put("/predictions/open", { steps: 2, token: "k3y", end: "never" }, later);
    await expect.poll(async () => ((await read("/predictions/open")).output as string[])?.length).toBe(2);
    const answer = await get("/predictions/open");
    expect(answer.text).toBe(await (await put("/predictions/open", {})).text());
    expect(JSON.parse(answer.text)).toMatchObject({ status: "processing", input: { token: "**********" } });
    await fetch(`${server.url}/predictions/open/cancel`, { method: "POST" });
    await expect.poll(async () => (await read("/predictions/open")).status).toBe("canceled");
  });

  it.each([
    ["ok", { status: "succeeded", output: ["s0", "s1"] }],
    ["throw", { status: "failed", error: "no more steps", output: ["s0", "s1"] }],
  ])("answers when it is over: %s", async (end, expected) => {
    await put(`/predictions/over-${end}`, { steps: 2, end });
    const body = await read(`/predictions/over-${end}`);
    expect(body).toMatchObject({ id: `over-${end}`, ...expected, input: { steps: 2, end }, logs: "step 0\nstep 1\n" });
    expect((body.metrics as { predict_time: number }).predict_time).toBeGreaterThan(0);
  });

  it("does not stop PUT from starting a new run, which it shows from then on", async () => {
    await put("/predictions/again", { steps: 1 });
    expect(await (await put("/predictions/again", { steps: 3 })).json()).toMatchObject({ output: ["s0", "s1", "s2"] });
    expect(await read("/predictions/again")).toMatchObject({ output: ["s0", "s1", "s2"] });
  });

  it("knows trainings, and ids with any characters", async () => {
    const id = encodeURIComponent("../__proto__ \u00e9");
    await put(`/trainings/${id}`, { steps: 1 });
    expect(await read(`/trainings/${id}`)).toMatchObject({ status: "succeeded", output: "trained" });
  });

  it("is 404 without a run, and 405 names what there is", async () => {
    expect((await get("/predictions/nobody")).status).toBe(404);
    expect((await get("/predictions/nobody/stream")).status).toBe(404);
    for (const [path, allow] of [
      ["/predictions/x", "GET,HEAD,PUT"],
      ["/trainings/x/stream", "GET,HEAD"],
    ]) {
      const response = await fetch(server.url + path, { method: "POST" });
      expect([response.status, response.headers.get("allow")]).toEqual([405, allow]);
    }
  });

  it("answers HEAD without a body and without waiting for the events", async () => {
    await put("/predictions/head", { steps: 0, end: "never" }, later);
    for (const path of ["/predictions/head", "/predictions/head/stream"]) {
      const response = await fetch(server.url + path, { method: "HEAD" });
      expect([response.status, await response.text()]).toEqual([200, ""]);
    }
    await fetch(`${server.url}/predictions/head/cancel`, { method: "POST" });
    await server.until("READY");
  });
});

describe("GET of a run's stream", () => {
  const all = ["1 start", "2 log", "3 output", "4 log", "5 output", "6 completed"];

  it("numbers the events, live and afterwards alike, and goes on after Last-Event-ID", async () => {
    await put("/predictions/live", { steps: 2, end: "wait" }, later);
    const live = get("/predictions/live/stream");
    expect(events((await live).text)).toEqual(all);
    const replay = await get("/predictions/live/stream");
    expect(replay.text).toBe((await live).text);
    expect(replay.headers.get("content-type")).toBe("text/event-stream");
    const rest = await get("/predictions/live/stream", { "last-event-id": "4" });
    expect(events(rest.text)).toEqual(all.slice(4));
    expect((await get("/predictions/live/stream", { "last-event-id": "6" })).text).toBe("");
    expect(events((await get("/predictions/live/stream", { "last-event-id": "x" })).text)).toEqual(all);
  });

  it("leaves streams of POST and PUT without numbers", async () => {
    const response = await put("/predictions/plain", { steps: 2 }, { accept: "text/event-stream" });
    expect(events(await response.text())).toEqual(all.map((event) => event.replace(/\d+/, "undefined")));
  });

  it("is there for trainings; as the answer to PUT it is not", async () => {
    await put("/trainings/t", { steps: 1, end: "wait" }, later);
    expect(events((await get("/trainings/t/stream")).text)).toEqual(["1 start", "2 log", "3 output", "4 completed"]);
    expect((await put("/trainings/u", {}, { accept: "text/event-stream" })).status).toBe(406);
  });

  it("says what is missing of a long one, and goes on where the history begins", async () => {
    const small = await startServerProcess({ dir, env: { COG_STREAM_HISTORY_CAPACITY: "3" } });
    await small.until("READY");
    const body = JSON.stringify({ input: { steps: 2 } });
    await fetch(`${small.url}/predictions/p`, { method: "PUT", headers: json, body });
    const from = async (id: string) => {
      const headers = { "last-event-id": id };
      return (await fetch(`${small.url}/predictions/p/stream`, { headers })).text();
    };
    expect(await from("0")).toBe('event: error\ndata: {"error":"replay truncated","skipped":3}\n\n');
    expect(await from("1")).toContain('"skipped":2');
    expect(events(await from("3"))).toEqual(all.slice(3));
    await small.kill();
  });
});

describe("what is kept of finished runs", () => {
  const run = (id: string, text = "") => ({ id, view: JSON.stringify({ id, output: text }), stream: null });

  it("ends after ten minutes", () => {
    let now = 1;
    const runs = new FinishedRuns(() => now);
    runs.add(run("a"));
    now = 600_001;
    expect(runs.find("a")?.view).toBe('{"id":"a","output":""}');
    now = 600_002;
    expect(runs.find("a")).toBeUndefined();
    runs.close();
  });

  it("is a thousand runs, the latest ones", () => {
    const runs = new FinishedRuns();
    for (let i = 0; i <= 1000; i++) runs.add(run(`r${i}`));
    expect(runs.find("r0")).toBeUndefined();
    expect(runs.find("r1")).toBeDefined();
    runs.close();
  });

  it("is 64 MiB, the latest ones; what is larger is not kept and drives nothing out", () => {
    const runs = new FinishedRuns();
    const mebibytes = (count: number) => "x".repeat(count * 1024 * 1024);
    runs.add(run("a", mebibytes(30)));
    runs.add(run("huge", mebibytes(65)));
    runs.add(run("b", mebibytes(30)));
    expect([runs.find("a"), runs.find("huge"), runs.find("b")].map(Boolean)).toEqual([true, false, true]);
    runs.add(run("c", mebibytes(5)));
    expect([runs.find("a"), runs.find("b"), runs.find("c")].map(Boolean)).toEqual([false, true, true]);
    runs.add(run("b"));
    runs.add(run("d", mebibytes(50)));
    expect(runs.find("c")).toBeDefined();
    runs.close();
  });
});
