import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Receiver } from "./receiver.ts";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/steps", import.meta.url));
let server: ServerProcess;
beforeAll(async () => {
  buildDist();
  server = await startServerProcess({ dir, env: { COG_QUEUE_LENGTH: "2" } });
  await server.until("READY");
});
afterAll(() => server?.kill());

const json = { "content-type": "application/json" };
const later = { prefer: "respond-async" };
function put(path: string, body: object, headers: Record<string, string> = later) {
  return fetch(server.url + path, { method: "PUT", headers: { ...json, ...headers }, body: JSON.stringify(body) });
}
const cancel = (id: string) => fetch(`${server.url}/predictions/${id}/cancel`, { method: "POST" });
const status = async (id: string) =>
  ((await (await fetch(`${server.url}/predictions/${id}`)).json()) as { status: string }).status;
const busy = (id: string) => put(`/predictions/${id}`, { input: { end: "never" } });

describe("a queue for two runs", () => {
  it("takes them in turn; the third is told when to come back", async () => {
    expect((await busy("q1")).status).toBe(202);
    await expect.poll(() => status("q1")).toBe("processing");
    expect((await put("/predictions/q2", { input: { end: "wait" } })).status).toBe(202);
    const asked = performance.now();
    const waiting = put("/predictions/q3", { input: { steps: 2 } }, {});
    await expect.poll(() => fetch(`${server.url}/predictions/q3`).then((answer) => answer.status)).toBe(200);
    const full = await put("/predictions/q4", { input: {} }, {});
    expect(full.status).toBe(429);
    expect(Number(full.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(await full.json()).toEqual({ error: "All slots are in use and the queue is full", status: "failed" });
    expect((await put("/predictions/q2", { input: {} })).status).toBe(202);
    expect([await status("q2"), await status("q3")]).toEqual(["starting", "starting"]);
    await cancel("q1");
    const answer = (await (await waiting).json()) as { output: string[]; metrics: { predict_time: number } };
    const waitedSeconds = (performance.now() - asked) / 1000;
    expect(answer.output).toEqual(["s0", "s1"]);
    const q2 = (await (await fetch(`${server.url}/predictions/q2`)).json()) as typeof answer & { status: string };
    expect(q2.status).toBe("succeeded");
    // The time that q2 took is not its own: both together were shorter than the wait.
    expect(q2.metrics.predict_time).toBeGreaterThan(0.29);
    expect(answer.metrics.predict_time + q2.metrics.predict_time).toBeLessThan(waitedSeconds);
    await server.until("READY");
  });

  it("forgets a run that is canceled while it waits, and tells its webhook", async () => {
    const sink = await Receiver.start();
    await busy("c1");
    await put("/predictions/c2", { input: {}, webhook: sink.url });
    await cancel("c2");
    expect(await sink.until((received) => received.length > 0, 30_000)).toBe(true);
    expect(sink.bodies).toMatchObject([{ id: "c2", status: "canceled" }]);
    expect(await status("c2")).toBe("canceled");
    await cancel("c1");
    await server.until("READY");
    sink.close();
  });

  it("forgets a run whose client leaves while it waits", async () => {
    await busy("l1");
    const leaving = new AbortController();
    const body = JSON.stringify({ id: "l2", input: { steps: 3 } });
    const { signal } = leaving;
    const left = fetch(`${server.url}/predictions`, { method: "POST", headers: json, body, signal });
    await expect.poll(() => fetch(`${server.url}/predictions/l2`).then((answer) => answer.status)).toBe(200);
    leaving.abort();
    await expect(left).rejects.toThrow();
    await expect.poll(() => status("l2")).toBe("canceled");
    await cancel("l1");
    await server.until("READY");
  });

  it("goes on with the new worker when the worker dies", async () => {
    await put("/predictions/d1", { input: { end: "pid" } });
    const output = async () =>
      ((await (await fetch(`${server.url}/predictions/d1`)).json()) as { output?: string[] }).output;
    await expect.poll(output).toHaveLength(2);
    const waiting = put("/predictions/d2", { input: { steps: 2 } }, {});
    await expect.poll(() => fetch(`${server.url}/predictions/d2`).then((answer) => answer.status)).toBe(200);
    process.kill(Number((await output())![1]), "SIGKILL");
    expect(await (await waiting).json()).toMatchObject({ status: "succeeded", output: ["s0", "s1"] });
    expect(await status("d1")).toBe("failed");
  });

  it("holds trainings too, one after the other", async () => {
    await put("/trainings/t1", { input: { end: "wait" } });
    const second = await put("/trainings/t2", { input: {} }, {});
    expect(await second.json()).toMatchObject({ status: "succeeded", output: "trained" });
    expect(await status("t1")).toBe("succeeded");
  });

  it("is served before the server stops", async () => {
    const sink = await Receiver.start();
    const webhook = { webhook: sink.url, webhook_events_filter: ["completed"] };
    await put("/predictions/s1", { input: { end: "wait" }, ...webhook });
    await put("/predictions/s2", { input: {}, ...webhook });
    await fetch(`${server.url}/shutdown`, { method: "POST" });
    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(sink.bodies.map(({ id, status: end }) => `${id} ${end}`)).toEqual(["s1 succeeded", "s2 succeeded"]);
    sink.close();
  });
});
