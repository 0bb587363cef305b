import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Receiver } from "./receiver.ts";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/faults", import.meta.url));
const data = (text: string, parameters = "") =>
  `data:text/plain${parameters};base64,${Buffer.from(text).toString("base64")}`;

let server: ServerProcess;
beforeAll(async () => {
  buildDist();
  server = await startServerProcess({ dir });
  await server.until("READY");
});
afterAll(() => server?.kill());

async function call(method: string, path: string, body?: object, headers: Record<string, string> = {}) {
  const response = await fetch(server.url + path, {
    method,
    headers: { "content-type": "application/json", ...headers },
    body: body === undefined ? null : JSON.stringify(body),
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}
const predict = async (input: object) => (await call("POST", "/predictions", { input })).json;

describe("author code that misbehaves", () => {
  it("fails its own run with process.exit(); the next one works at once", async () => {
    expect(await predict({ mode: "exit" })).toMatchObject({ status: "failed", error: "process.exit(1) was called" });
    expect(await predict({})).toMatchObject({ status: "succeeded", output: "ok" });
  });

  it("fails its own run with an uncaught exception; the slot comes back", async () => {
    expect(await predict({ mode: "uncaught" })).toMatchObject({ status: "failed", error: "thrown later" });
    expect(await predict({})).toMatchObject({ status: "succeeded" });
  });

  it("fails its own run with a rejection that nobody handles", async () => {
    expect(await predict({ mode: "rejection" })).toMatchObject({ status: "failed", error: "nobody waits" });
    expect(await predict({})).toMatchObject({ status: "succeeded" });
  });

  it("does not keep health checks waiting while it spins", async () => {
    const spinning = predict({ mode: "spin", ms: 3000 });
    await server.until("BUSY");
    expect((await server.health()).status).toBe("BUSY");
    expect(await spinning).toMatchObject({ output: "spun" });
  });

  it("keeps its slot when it ignores a cancel, and is reported canceled", async () => {
    await call("PUT", "/predictions/stubborn", { input: { mode: "stubborn", ms: 4000 } }, { prefer: "respond-async" });
    await server.until("BUSY");
    expect((await call("POST", "/predictions/stubborn/cancel")).status).toBe(200);
    expect((await call("POST", "/predictions", { input: {} })).status).toBe(409);
    await server.until("READY");
    expect((await call("POST", "/predictions/stubborn/cancel")).status).toBe(404);
  });
});

describe("what predict is given", () => {
  it("has its context anywhere below, a secret that does not show, and the client's file name", async () => {
    expect(await predict({ mode: "context" })).toMatchObject({ output: true });
    expect(await predict({ mode: "secret", token: "k3y" })).toMatchObject({
      output: "**********",
      logs: "**********\n",
    });
    const named = await predict({ mode: "name", file: data("x", ";name=my%20data.json") });
    expect(named).toMatchObject({ output: { name: "my data.json", text: "x" } });
  });

  it("fails with just the message of a UserError", async () => {
    expect((await predict({ mode: "user" })).error).toBe("the picture is too dark. Add light.");
  });

  it("shows no secret in a 422 or in the echo of a running prediction", async () => {
    const refused = await call("POST", "/predictions", { input: { token: 12345 } });
    expect(refused.status).toBe(422);
    expect(JSON.stringify(refused.json)).not.toContain("12345");
    const input = { mode: "sleep", ms: 60_000, token: "k3y" };
    await call("PUT", "/predictions/echo", { input }, { prefer: "respond-async" });
    const echo = await call("PUT", "/predictions/echo", {});
    expect(echo.status).toBe(202);
    expect(echo.json.input).toEqual({ mode: "sleep", ms: 60_000, token: "**********", file: null });
    await call("POST", "/predictions/echo/cancel");
    await server.until("READY");
  });

  it("may leave files in its folder: they are read, then gone", async () => {
    expect(await predict({ mode: "temp" })).toMatchObject({ output: [data("hello")] });
    expect(readdirSync(server.tempDir)).toEqual([]);
  });
});

describe("hostile requests", () => {
  it.each(["x".repeat(4000), "a\0b", "../../../escape", "__proto__", "\u202e", ""])(
    "with the id %j cost no slot and make no folder",
    async (id) => {
      expect((await call("POST", "/predictions", { id, input: {} })).json).toMatchObject({ id, status: "succeeded" });
      expect((await server.health()).status).toBe("READY");
      expect(readdirSync(server.tempDir)).toEqual([]);
    },
  );

  it("cannot name a local file as input", async () => {
    for (const file of ["/etc/passwd", "file:///etc/passwd", "FILE:/etc/passwd", "../predict.ts"]) {
      const answer = await predict({ mode: "name", file });
      expect(answer).toMatchObject({ status: "failed" });
      expect(answer.error).toContain("[INPUT_FILE]");
    }
  });

  it("may use names of object internals as inputs: they are unknown inputs", async () => {
    const body = '{"input":{"__proto__":{"mode":"exit"},"constructor":1,"toString":2}}';
    const response = await fetch(`${server.url}/predictions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    expect(await response.json()).toMatchObject({ status: "succeeded", output: "ok" });
  });

  it("cancel a run in its first moment", async () => {
    for (let i = 0; i < 10; i++) {
      await call("PUT", "/predictions/early", { input: { mode: "sleep", ms: 60_000 } }, { prefer: "respond-async" });
      expect((await call("POST", "/predictions/early/cancel")).status).toBe(200);
      await server.until("READY");
      expect((await call("GET", "/predictions/early")).json.status).toBe("canceled");
    }
  });

  it("cancel every run of an id", async () => {
    const several = await startServerProcess({ dir, env: { COG_MAX_CONCURRENCY: "3" } });
    await several.until("READY");
    const body = JSON.stringify({ id: "twin", input: { mode: "sleep", ms: 60_000 } });
    const headers = { "content-type": "application/json" };
    const post = () => fetch(`${several.url}/predictions`, { method: "POST", headers, body }).then((res) => res.json());
    const twins = [post(), post(), post()];
    await several.until("BUSY");
    expect((await fetch(`${several.url}/predictions/twin/cancel`, { method: "POST" })).status).toBe(200);
    for (const twin of twins) expect(await twin).toMatchObject({ id: "twin", status: "canceled" });
    expect((await fetch(`${several.url}/predictions/twin/cancel`, { method: "POST" })).status).toBe(404);
    await several.until("READY");
    await several.kill();
  });

  it("follow each other without a pause and find the slot free, whatever the one before came to", async () => {
    for (let i = 0; i < 100; i++) {
      const { status, json } = await call("POST", "/predictions", { input: { mode: i % 3 === 2 ? "user" : "ok" } });
      expect([status, json.status]).toEqual([200, i % 3 === 2 ? "failed" : "succeeded"]);
    }
  });
});

describe("numbers that JSON does not have", () => {
  it("are dropped as metrics, and fail the run as output", async () => {
    expect(await predict({ mode: "nan" })).toMatchObject({
      status: "succeeded",
      output: "measured",
      metrics: { kept: 1, predict_time: expect.any(Number) },
    });
    expect(Object.keys((await predict({ mode: "nan" })).metrics as object).sort()).toEqual(["kept", "predict_time"]);
    expect(await predict({ mode: "nanout" })).toMatchObject({
      error: "[OUTPUT_INVALID] output.x[1]: NaN is not a JSON number",
    });
  });
});

describe("a training in a server for predictions", () => {
  it("runs in a process of its own, while predictions go on", async () => {
    const started = call("POST", "/trainings", { input: { dataset: data("rows"), ms: 300 } });
    expect(await predict({})).toMatchObject({ status: "succeeded" });
    const { json } = await started;
    expect(json.status).toBe("succeeded");
    const weights = (json.output as { weights: string }).weights;
    expect(Buffer.from(weights.split(",")[1]!, "base64").toString()).toMatch(/^\d+:rows$/);
  });

  it("keeps the code and the hint of an error, and the client's name of the file", async () => {
    const { json } = await call("POST", "/trainings", { input: { dataset: data("bad", ";name=data.json") } });
    expect(json.error).toBe("[DATASET_ROW_FIELD] data.json: row 3 lacks output. Add the field.");
  });

  it("can be canceled while its worker is still starting", async () => {
    await call("PUT", "/trainings/t", { input: { dataset: data("x"), ms: 60_000 } }, { prefer: "respond-async" });
    expect((await call("POST", "/predictions/t/cancel")).status).toBe(200);
    await expect.poll(async () => (await call("POST", "/trainings/t/cancel")).status).toBe(404);
  });
});

describe("a worker that dies", () => {
  it("fails its run, delivers the webhook, and is started again", async () => {
    const sink = await Receiver.start();
    const body = { input: { mode: "die" }, webhook: sink.url, webhook_events_filter: ["completed"] };
    const { status, json } = await call("POST", "/predictions", body);
    expect(status).toBe(200);
    expect(json).toMatchObject({ status: "failed" });
    expect(json.error).toContain("[WORKER_DIED]");
    expect(await sink.until((received) => received.length === 1, 30_000)).toBe(true);
    expect(sink.bodies[0]).toMatchObject({ status: "failed" });
    sink.close();
    await server.until("READY");
    expect(await predict({})).toMatchObject({ status: "succeeded" });
  });
});

describe("an error that takes the process with it", () => {
  it("fails its run with its own code; the next runs have a new process", async () => {
    const { output: before } = await predict({ mode: "pid" });
    expect((await predict({ mode: "lost" })).error).toBe("[DEVICE_LOST] the GPU reports: a fault");
    await expect.poll(async () => (await predict({ mode: "pid" })).output).toEqual(expect.any(Number));
    expect((await predict({ mode: "pid" })).output).not.toBe(before);
  });
});

describe("a stop", () => {
  it("by a second SIGTERM cancels what runs, delivers its webhook and leaves nothing behind", async () => {
    const sink = await Receiver.start();
    const input = { mode: "sleep", ms: 600_000 };
    const body = { input, webhook: sink.url, webhook_events_filter: ["completed"] };
    await call("POST", "/predictions", body, { prefer: "respond-async" });
    await server.until("BUSY");
    server.child.kill("SIGTERM");
    await sleep(200);
    server.child.kill("SIGTERM");
    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(sink.bodies).toMatchObject([{ status: "canceled" }]);
    expect(readdirSync(server.tempDir)).toEqual([]);
    sink.close();
  });
});
