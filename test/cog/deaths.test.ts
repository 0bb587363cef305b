import { connect, createServer, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { Receiver } from "./receiver.ts";
import { buildDist, type ServerProcess, type ServerProcessOptions, startServerProcess } from "./server-process.ts";

const folder = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
let server: ServerProcess;
beforeAll(buildDist);
afterEach(() => server?.kill());

async function start(options: Partial<ServerProcessOptions> = {}): Promise<void> {
  server = await startServerProcess({ dir: folder("steps"), ...options });
}

const json = { "content-type": "application/json" };
async function post(path: string, body: object, headers: Record<string, string> = {}) {
  const init = { method: "POST", headers: { ...json, ...headers }, body: JSON.stringify(body) };
  const response = await fetch(server.url + path, init);
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}
const predict = (input: object, more: object = {}) => post("/predictions", { input, ...more });
const reason = async () => ((await (await fetch(`${server.url}/readyz`)).json()) as { reason?: string }).reason;

describe("a worker that dies", () => {
  it("is replaced; meanwhile the server is DEFUNCT, then STARTING", async () => {
    await start();
    await server.until("READY");
    expect((await predict({ end: "die" })).json).toMatchObject({ status: "failed" });
    expect((await server.health()).status).toBe("DEFUNCT");
    expect(await reason()).toBe("the process that runs the model has ended and is started again");
    expect((await predict({})).status).toBe(503);
    await server.until("STARTING");
    await server.until("READY");
    expect((await predict({})).json).toMatchObject({ status: "succeeded" });
  });

  it("five times within a minute is not replaced, and what waits for it fails; the server stops as ever", async () => {
    await start({ env: { COG_QUEUE_LENGTH: "5" } });
    for (let death = 1; death <= 4; death++) {
      await server.until("READY");
      await predict({ end: "die" });
    }
    await server.until("READY");
    const headers = { prefer: "respond-async" };
    await post("/predictions", { input: { end: "wait then die", ms: 500 } }, headers);
    const waiting = await predict({});
    expect(waiting.json).toMatchObject({ status: "failed", error: expect.stringContaining("[WORKER_DIED]") });
    expect(await reason()).toBe("the process that runs the model has died too often");
    expect((await server.health()).status).toBe("DEFUNCT");
    expect((await predict({})).status).toBe(503);
    await post("/shutdown", {});
    expect(await server.exited).toEqual({ code: 0, signal: null });
  });

  it("in each setup ends as DEFUNCT", async () => {
    await start({ dir: folder("startup"), env: { BROKEN: "death" } });
    await expect.poll(reason, { timeout: 30_000 }).toBe("the process that runs the model has died too often");
    expect(await server.health()).toMatchObject({ status: "DEFUNCT", setup: { status: "failed" } });
    expect((await predict({ prompt: "x" })).status).toBe(503);
  });

  it("in a training fails that training, tells its webhook, and leaves predictions alone", async () => {
    await start();
    await server.until("READY");
    const sink = await Receiver.start();
    const hook = { webhook: sink.url, webhook_events_filter: ["completed"] };
    const training = await post("/trainings", { input: { end: "die" }, ...hook });
    expect(training.json).toMatchObject({ status: "failed", error: expect.stringContaining("[WORKER_DIED]") });
    expect(await sink.until((received) => received.length === 1, 5000)).toBe(true);
    expect((await server.health()).status).toBe("READY");
    expect((await post("/trainings", { input: {} })).json).toMatchObject({ status: "succeeded" });
    sink.close();
  });
});

describe("a server that dies", () => {
  it("leaves no worker behind", async () => {
    await start();
    await server.until("READY");
    const [pid] = (await predict({ steps: 0, end: "pid" })).json.output as string[];
    server.child.kill("SIGKILL");
    await server.exited;
    await expect.poll(() => isAlive(Number(pid))).toBe(false);
  });
});

describe("a webhook's receiver", () => {
  it("that resets connections gets the terminal event in the end", async () => {
    await start();
    await server.until("READY");
    let resets = 0;
    const texts: string[] = [];
    const receiver = createServer((socket: Socket) => {
      socket.on("error", () => {});
      if (resets++ < 2) socket.resetAndDestroy();
      else
        socket.on("data", (bytes) => {
          texts.push(String(bytes));
          socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        });
    });
    await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
    const { port } = receiver.address() as { port: number };
    await predict({}, { webhook: `http://127.0.0.1:${port}/`, webhook_events_filter: ["completed"] });
    await expect.poll(() => texts.join(""), { timeout: 10_000 }).toContain('"status":"succeeded"');
    receiver.close();
  });

  it("that hangs on an early event holds up neither the answer nor, for long, the terminal one", async () => {
    await start();
    await server.until("READY");
    const sink = await Receiver.start((_request, index) => (index === 0 ? { delayMs: 3_600_000 } : {}));
    const { json } = await predict({}, { webhook: sink.url });
    expect(json.status).toBe("succeeded");
    expect(await sink.until(() => sink.bodies.some(({ status }) => status === "succeeded"), 15_000)).toBe(true);
    sink.close();
  });
});

describe("a client of a stream", () => {
  it("that stops reading is cut off: its run is canceled and the slot is free", async () => {
    await start();
    await server.until("READY");
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1").on("error", () => {});
    const body = JSON.stringify({ id: "stalled", input: { steps: 60, size: 1_000_000, end: "wait", ms: 600_000 } });
    socket.pause();
    const head = ["PUT /predictions/stalled HTTP/1.1", "host: x", "accept: text/event-stream"];
    const lines = [...head, "content-type: application/json", `content-length: ${body.length}`, "", body];
    socket.write(lines.join("\r\n"));
    await server.until("BUSY");
    await server.until("READY");
    const read = (await (await fetch(`${server.url}/predictions/stalled`)).json()) as { status: string };
    expect(read.status).toBe("canceled");
    socket.destroy();
  });
});

describe("a disk that takes no files", () => {
  it("fails the runs that need it, without a word of where it is; others go on", async () => {
    await start({ dir: folder("guarded"), env: { TMPDIR: "/dev/null/full" } });
    await server.until("READY");
    const { json } = await predict({ mode: "file", file: "data:,x" });
    expect(json.status).toBe("failed");
    expect(json.error).toMatch(/^\[INPUT_FILE\] input "file": ENOTDIR: not a directory, mkdir '[^/]*'$/);
    expect((await predict({})).json).toMatchObject({ status: "succeeded" });
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
