import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Receiver } from "./receiver.ts";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/steps", import.meta.url));
let server: ServerProcess;
beforeAll(async () => {
  buildDist();
  server = await startServerProcess({ dir, env: { LOG_FORMAT: null } });
});
afterAll(() => server?.kill());

const json = { "content-type": "application/json" };
async function predict(input: object, more: object = {}, headers: Record<string, string> = {}) {
  const body = JSON.stringify({ input, ...more });
  const response = await fetch(`${server.url}/predictions`, { method: "POST", headers: { ...json, ...headers }, body });
  return response.json();
}
async function metrics(): Promise<(name: string) => number | undefined> {
  const response = await fetch(`${server.url}/metrics`);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const lines = (await response.text()).split("\n");
  return (name) => {
    const line = lines.find((each) => each.startsWith(`${name} `));
    return line === undefined ? undefined : Number(line.slice(name.length + 1));
  };
}

const ready = async () => {
  const response = await fetch(`${server.url}/readyz`);
  return { status: response.status, ...((await response.json()) as { reason?: string }) };
};

describe("the probes", () => {
  it("tell alive from ready", async () => {
    await server.until();
    expect(await (await fetch(`${server.url}/livez`)).json()).toEqual({ status: "alive" });
    expect(await ready()).toEqual({ status: "not ready", reason: "setup has not finished" });
    expect((await fetch(`${server.url}/readyz`)).status).toBe(503);
    await server.until("READY");
    expect(await ready()).toEqual({ status: "ready" });
    for (const path of ["/livez", "/readyz", "/metrics"]) {
      expect((await fetch(server.url + path, { method: "HEAD" })).status).toBe(200);
      expect((await fetch(server.url + path, { method: "POST" })).headers.get("allow")).toBe("GET,HEAD");
    }
  });
});

describe("the metrics", () => {
  it("count runs by outcome and time, refusals, slots and deaths", async () => {
    const earlier = await metrics();
    await predict({ steps: 1 });
    await predict({ end: "throw" });
    const body = { input: { end: "never" } };
    const headers = { ...json, prefer: "respond-async" };
    await fetch(`${server.url}/predictions/m`, { method: "PUT", headers, body: JSON.stringify(body) });
    expect(await predict({})).toMatchObject({ error: expect.stringContaining("capacity") });
    const during = await metrics();
    expect(during("cog_slots_in_use")).toBe(1);
    await fetch(`${server.url}/predictions/m/cancel`, { method: "POST" });
    await server.until("READY");
    const now = await metrics();
    const grown = (name: string) => (now(name) ?? 0) - (earlier(name) ?? 0);
    for (const status of ["succeeded", "failed", "canceled"]) {
      expect([status, grown(`cog_runs_total{family="predictions",status="${status}"}`)]).toEqual([status, 1]);
    }
    expect(grown('cog_refused_total{reason="busy"}')).toBe(1);
    expect(grown('cog_run_seconds_count{family="predictions"}')).toBe(3);
    expect(grown('cog_run_seconds_bucket{le="+Inf",family="predictions"}')).toBe(3);
    expect(grown('cog_run_seconds_sum{family="predictions"}')).toBeGreaterThan(0);
    expect(now("cog_worker_deaths_total")).toBe(0);
    expect([now("cog_ready"), now("cog_slots"), now("cog_slots_in_use"), now("cog_queue_limit")]).toEqual([1, 1, 0, 0]);
    expect(now("process_resident_memory_bytes")).toBeGreaterThan(1e6);
  });
});

describe("the metrics of a training", () => {
  it("are shown while it runs, where they are numbers, and then no more", async () => {
    const headers = { ...json, prefer: "respond-async" };
    const body = JSON.stringify({ input: { steps: 4, end: "measure" } });
    await fetch(`${server.url}/trainings/measured`, { method: "PUT", headers, body });
    const recorded = { note: "text is no number", step: 4, eval: { loss: 0.25 } };
    const view = async () => (await (await fetch(`${server.url}/trainings/measured`)).json()) as { metrics: object };
    await expect.poll(async () => (await view()).metrics).toMatchObject(recorded);
    const series = async () =>
      (await (await fetch(`${server.url}/metrics`)).text())
        .split("\n")
        .filter((line) => line.startsWith("cog_training_metric{"));
    expect(await series()).toEqual([
      'cog_training_metric{name="step"} 4',
      'cog_training_metric{name="eval.loss"} 0.25',
    ]);
    await fetch(`${server.url}/trainings/measured/cancel`, { method: "POST" });
    await expect.poll(series).toEqual([]);
    expect((await view()).metrics).toMatchObject({
      ...recorded,
      curve: [1, 2, 3, 4].map((step) => ({ step, loss: 1 / step })),
    });
  });
});

describe("the log", () => {
  it("has a JSON object per line, with the run's id and the request's trace, which its webhook gets too", async () => {
    const sink = await Receiver.start();
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const more = { id: "logged", webhook: sink.url, webhook_events_filter: ["completed"] };
    await predict({ steps: 1 }, more, { traceparent, tracestate: "a=b" });
    expect(await sink.until((received) => received.length > 0, 30_000)).toBe(true);
    expect(sink.received[0]!.headers).toMatchObject({ traceparent, tracestate: "a=b" });
    await predict({ steps: 1 }, { id: "untraced" });
    await expect.poll(() => lines("untraced").length).toBeGreaterThan(0);
    expect(lines("logged")[0]).toEqual({
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      level: "INFO",
      target: "cog::stdout",
      fields: { message: "step 0", prediction_id: "logged", traceparent },
    });
    expect(lines("untraced")[0]!.fields).toEqual({ message: "step 0", prediction_id: "untraced" });
    sink.close();
  });

  it("names inputs that the model does not declare, once, with the run's id; the answer stays Cog's", async () => {
    const answer = await predict({ steps: 1, stepz: 3, "a\nb": "value of mine" }, { id: "misspelt" });
    expect(answer).toMatchObject({ status: "succeeded", output: ["s0"], logs: "step 0\n" });
    await expect
      .poll(() => lines("misspelt").filter(({ level }) => level === "WARN"))
      .toEqual([
        {
          timestamp: expect.any(String),
          level: "WARN",
          target: "cog",
          fields: { message: 'unknown inputs are ignored: "stepz", "a\\nb"', prediction_id: "misspelt" },
        },
      ]);
    expect(server.log()).not.toContain("value of mine");
  });

  it("tells why a run failed, with the stack that its client does not get", async () => {
    await predict({ steps: 0, end: "throw" }, { id: "thrown" });
    const why = { message: "the run failed: no more steps", prediction_id: "thrown" };
    await expect.poll(() => lines("thrown").at(-1)?.fields).toEqual(why);
    const fields = lines("thrown").map((line) => line.fields);
    expect(fields[0]!.message).toBe("Error: no more steps");
    expect(fields[1]!.message).toMatch(/^ {4}at .*predict\.ts:\d+/);
  });

  it("has the code of an error as a field, and of its webhook's trouble the run's id", async () => {
    const more = { id: "died", webhook: "nonsense", webhook_events_filter: ["completed"] };
    expect(await predict({ end: "die" }, more)).toMatchObject({ status: "failed" });
    const coded = () => lines("died").find(({ fields }) => fields.code === "WORKER_DIED");
    await expect.poll(coded).toMatchObject({ level: "INFO", target: "cog" });
    expect((await metrics())("cog_worker_deaths_total")).toBe(1);
    expect(coded()!.fields.message).toMatch(/^the run failed: \[WORKER_DIED\] /);
    const messages = () => lines("died").map(({ fields }) => fields.message);
    await expect.poll(messages).toContain("webhook: it is not a URL");
    await server.until("READY");
  });

  interface Line {
    timestamp: string;
    level: string;
    target: string;
    fields: { message: string; prediction_id?: string; code?: string };
  }

  /** Of one run. */
  function lines(id: string): Line[] {
    return server
      .log()
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Line)
      .filter(({ fields }) => fields.prediction_id === id);
  }
});
