import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Received, Receiver, type ScriptedAnswer } from "./receiver.ts";
import { buildDist, type ServerProcess, type ServerProcessOptions, startServerProcess } from "./server-process.ts";

// What may break around a run, breaks here: no terminal webhook is lost, no slot stays taken, no process and no file is left.
const dir = fileURLToPath(new URL("fixtures/endurance", import.meta.url));
const events = { webhook_events_filter: ["completed"] };
const dataset = "data:text/plain,rows";

beforeAll(buildDist);
const opened: { kill?(): unknown; close?(): void }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) {
    await each.kill?.();
    each.close?.();
  }
});

async function start(options: Partial<ServerProcessOptions> = {}): Promise<ServerProcess> {
  const server = await startServerProcess({ dir, ...options });
  opened.push(server);
  return server;
}

async function started(options: Partial<ServerProcessOptions> = {}): Promise<ServerProcess> {
  const server = await start(options);
  await server.until("READY");
  return server;
}

async function receiver(answer?: (request: Received, index: number) => ScriptedAnswer): Promise<Receiver> {
  const sink = await Receiver.start(answer);
  opened.push(sink);
  return sink;
}

type Json = Record<string, unknown>;

async function send({ url }: ServerProcess, method: string, path: string, body?: object, headers = {}): Promise<Json> {
  const response = await fetch(url + path, {
    method,
    headers: { "content-type": "application/json", ...headers },
    body: body === undefined ? null : JSON.stringify(body),
  });
  return { http: response.status, ...((await response.json()) as Json) };
}
const predict = (server: ServerProcess, input: object, more: object = {}) =>
  send(server, "POST", "/predictions", { input, ...more });
const later = { prefer: "respond-async" };

/** Starts a run that holds its slot, and gives the process it is in. */
async function hold(server: ServerProcess, id: string, more: object = {}, mode = "hold"): Promise<number> {
  await send(server, "PUT", `/predictions/${id}`, { input: { mode }, ...more }, later);
  const first = async () => ((await send(server, "GET", `/predictions/${id}`)).output as string[] | undefined)?.[0];
  await expect.poll(first, { timeout: 30_000 }).toBeDefined();
  return Number(await first());
}

async function holdTraining(server: ServerProcess, id: string, more: object = {}): Promise<number> {
  await send(server, "PUT", `/trainings/${id}`, { input: { dataset, hold: true }, ...more }, later);
  const pid = async () => Number(await send(server, "GET", `/trainings/${id}`).then(({ logs }) => logs));
  await expect.poll(pid, { timeout: 30_000 }).toBeGreaterThan(0);
  return pid();
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function works(server: ServerProcess): Promise<void> {
  expect((await server.until("READY")).status).toBe("READY");
  expect(await predict(server, { file: "data:,x" })).toMatchObject({ http: 200, status: "succeeded" });
  expect(readdirSync(server.tempDir)).toEqual([]);
}

describe("a worker that is killed", () => {
  it("in its setup is started again", async () => {
    const mark = join(tmpdir(), `cog-mark-${process.pid}`);
    rmSync(mark, { force: true });
    const server = await started({ env: { DIES_ONCE_IN_SETUP: mark } });
    rmSync(mark);
    expect(server.log()).toContain("the worker process ended unexpectedly (SIGKILL)");
    expect((await server.health()).setup).toMatchObject({ status: "succeeded" });
    await works(server);
  });

  it("in predictions fails all of them, to their clients, streams and webhooks", async () => {
    const sink = await receiver();
    const server = await started({ env: { COG_MAX_CONCURRENCY: "3" } });
    const webhook = { webhook: sink.url, ...events };
    const body = JSON.stringify({ input: { mode: "hold" }, id: "streamed", ...webhook });
    const headers = { "content-type": "application/json", accept: "text/event-stream" };
    const stream = fetch(`${server.url}/predictions`, { method: "POST", headers, body }).then((res) => res.text());
    const waiting = send(server, "POST", "/predictions", { input: { mode: "hold" }, id: "waiting", ...webhook });
    const pid = await hold(server, "later", webhook);
    await expect.poll(async () => (await server.health()).status).toBe("BUSY");
    process.kill(pid, "SIGKILL");
    expect(await waiting).toMatchObject({
      http: 200,
      status: "failed",
      error: expect.stringContaining("[WORKER_DIED]"),
    });
    expect(await stream).toMatch(/event: completed\ndata: \{"id":"streamed","status":"failed",.*\n\n$/);
    expect(await sink.until((received) => received.length === 3, 30_000)).toBe(true);
    const ends = sink.bodies.map(({ id, status }) => `${id} ${status}`).sort();
    expect(ends).toEqual(["later failed", "streamed failed", "waiting failed"]);
    await works(server);
  });

  it("in a training fails that, and predictions go on", async () => {
    const sink = await receiver();
    const server = await started();
    const pid = await holdTraining(server, "t", { webhook: sink.url, ...events });
    process.kill(pid, "SIGKILL");
    expect(await sink.until((received) => received.length === 1, 30_000)).toBe(true);
    expect(sink.bodies).toMatchObject([{ id: "t", status: "failed" }]);
    await works(server);
    const again = await send(server, "POST", "/trainings", { input: { dataset } });
    expect(again).toMatchObject({
      status: "succeeded",
      output: { weights: expect.stringContaining("base64,cm93cw==") },
    });
  });

  it("is DEFUNCT until the new one's setup, and takes no predictions until it is ready", async () => {
    const server = await started();
    // The pause before the new worker doubles with each death: one of them is long enough to be seen.
    for (let death = 1; death <= 4; death++) {
      process.kill(await hold(server, `d${death}`), "SIGKILL");
      const seen: string[] = [];
      const reasons: string[] = [];
      do {
        const { status } = await server.health();
        if (seen.at(-1) !== status) seen.push(status as string);
        const { http, reason } = await send(server, "GET", "/readyz");
        if (http === 503) reasons.push(reason as string);
        const refused = status === "DEFUNCT" && (await predict(server, {}));
        if (refused && refused.http === 503) reasons.push("refused");
      } while (seen.at(-1) !== "READY");
      const order = ["BUSY", "DEFUNCT", "STARTING", "READY"].filter((status) => seen.includes(status));
      expect(seen).toEqual(order);
      const all = [
        "the process that runs the model has ended and is started again",
        "setup has not finished",
        "refused",
      ];
      if (seen.includes("DEFUNCT") && all.every((reason) => reasons.includes(reason))) return;
    }
    expect.unreachable("the moments were never seen");
  });

  it("five times within a minute is not started again", async () => {
    const sink = await receiver();
    const server = await started({ env: { COG_QUEUE_LENGTH: "1" } });
    let waiting: Promise<Json> = Promise.resolve({});
    for (let death = 1; death <= 5; death++) {
      const pid = await hold(server, `d${death}`, { webhook: sink.url, ...events });
      if (death === 5) waiting = predict(server, {}, { id: "waiting" });
      if (death === 5)
        await expect.poll(async () => (await send(server, "GET", "/predictions/waiting")).http).toBe(200);
      process.kill(pid, "SIGKILL");
      await expect.poll(async () => (await send(server, "GET", `/predictions/d${death}`)).status).toBe("failed");
      if (death < 5) await server.until("READY");
    }
    expect((await server.until("DEFUNCT")).status).toBe("DEFUNCT");
    expect(await waiting).toMatchObject({ status: "failed", error: expect.stringContaining("[WORKER_DIED]") });
    expect(await send(server, "GET", "/readyz")).toMatchObject({
      http: 503,
      reason: expect.stringContaining("too often"),
    });
    expect(await predict(server, {})).toMatchObject({ http: 503, status: "failed" });
    // Longer than the pause after four deaths.
    await sleep(2000);
    expect((await server.health()).status).toBe("DEFUNCT");
    expect(await sink.until((received) => received.length === 5, 30_000)).toBe(true);
    await send(server, "POST", "/shutdown");
    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(readdirSync(server.tempDir)).toEqual([]);
  });
});

describe("a webhook's receiver", () => {
  it("that hangs delays neither the answer nor the slot, and gets the terminal event", async () => {
    const sink = await receiver(({ body }) => (body.includes('"succeeded"') ? {} : { instead: "hang" }));
    const server = await started();
    const answer = await predict(server, { mode: "flood", count: 3, size: 10 }, { webhook: sink.url });
    expect(answer).toMatchObject({ http: 200, status: "succeeded" });
    await works(server);
    expect(await sink.until((received) => received.length === 2, 40_000)).toBe(true);
    expect(sink.bodies.map(({ status }) => status)).toEqual(["processing", "succeeded"]);
  });

  it("that breaks connections gets the terminal event again", async () => {
    const sink = await receiver((_, index) => (index < 3 ? { instead: "reset" } : {}));
    const server = await started();
    await predict(server, {}, { webhook: sink.url, ...events });
    expect(await sink.until((received) => received.length === 4, 40_000)).toBe(true);
    expect(new Set(sink.received.map(({ body }) => body.toString())).size).toBe(1);
    await works(server);
  });

  it("that hangs for ever does not keep the server from ending", async () => {
    const sink = await receiver(() => ({ instead: "hang" }));
    const server = await started();
    await predict(server, {}, { webhook: sink.url, ...events });
    server.child.kill("SIGTERM");
    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(sink.received).toHaveLength(1);
  });
});

describe("a client", () => {
  /** One that asks for a stream and reads nothing of it. */
  async function stalled(server: ServerProcess, input: object): Promise<Socket> {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname).pause();
    opened.push({ close: () => socket.destroy() });
    const body = JSON.stringify({ input });
    const head = [
      "POST /predictions HTTP/1.1",
      "Host: x",
      "Accept: text/event-stream",
      "Content-Type: application/json",
    ];
    socket.write([...head, `Content-Length: ${body.length}`, "", body].join("\r\n"));
    return socket;
  }

  it("that stalls holds up no run, and is cut off when too much waits for it", async () => {
    const server = await started();
    const socket = await stalled(server, { mode: "flood", count: 400, size: 100_000 });
    await server.until("BUSY");
    await works(server);
    let bytes = 0;
    socket.on("data", (chunk) => {
      bytes += chunk.length;
    });
    await new Promise((resolve) => socket.on("end", resolve).resume());
    expect(bytes).toBeLessThan(40_000_000);
  });

  it("that stalls does not keep the server from ending", async () => {
    const server = await started();
    await stalled(server, { mode: "flood", count: 60, size: 100_000 });
    await server.until("BUSY");
    await server.until("READY");
    server.child.kill("SIGTERM");
    expect(await server.exited).toEqual({ code: 0, signal: null });
  });

  it("that leaves in the middle of its body, its wait or its stream frees what it held", async () => {
    const server = await started({ env: { COG_MAX_CONCURRENCY: "2" } });
    const { hostname, port } = new URL(server.url);
    const half = connect(Number(port), hostname);
    half.write(
      'POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"input"',
    );
    const stream = await stalled(server, { mode: "hold" });
    const leaving = new AbortController();
    const body = JSON.stringify({ input: { mode: "hold" } });
    const { signal } = leaving;
    const headers = { "content-type": "application/json" };
    const waiting = fetch(`${server.url}/predictions`, { method: "POST", headers, body, signal });
    await server.until("BUSY");
    for (const socket of [half, stream]) socket.destroy();
    leaving.abort();
    await expect(waiting).rejects.toThrow();
    await works(server);
  });
});

describe("a second SIGTERM", () => {
  it("ends runs and trainings that do not listen, with their webhooks; no process and no file is left", async () => {
    const sink = await receiver();
    const server = await started({ env: { COG_MAX_CONCURRENCY: "2" } });
    const webhook = { webhook: sink.url, ...events };
    const pids = [await hold(server, "deaf", webhook, "deaf"), await hold(server, "hold", webhook)];
    pids.push(await holdTraining(server, "t", webhook));
    server.child.kill("SIGTERM");
    await sleep(100);
    expect(server.child.exitCode).toBeNull();
    server.child.kill("SIGTERM");
    expect(await server.exited).toEqual({ code: 0, signal: null });
    const ends = sink.bodies.map(({ id, status }) => `${id} ${status}`).sort();
    expect(ends).toEqual(["deaf canceled", "hold canceled", "t canceled"]);
    await expect.poll(() => pids.filter(isAlive), { timeout: 10_000 }).toEqual([]);
    expect(readdirSync(server.tempDir)).toEqual([]);
  });

  it("is not needed where a time of grace was set", async () => {
    const sink = await receiver();
    const server = await started({ env: { COG_SHUTDOWN_GRACE: "0.2" } });
    await hold(server, "h", { webhook: sink.url, ...events });
    server.child.kill("SIGTERM");
    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(sink.bodies).toMatchObject([{ status: "canceled" }]);
  });
});

describe("a server that is killed", () => {
  it("takes its workers with it", async () => {
    const server = await started();
    const pids = [await hold(server, "h"), await holdTraining(server, "t")];
    server.child.kill("SIGKILL");
    await expect.poll(() => pids.filter(isAlive), { timeout: 10_000 }).toEqual([]);
  });
});

describe("a full disk", () => {
  const small = join(tmpdir(), `cog-small-${process.pid}`);
  let isMounted = false;
  beforeAll(() => {
    mkdirSync(small, { recursive: true });
    isMounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", small]).status === 0;
  });
  afterAll(() => {
    if (isMounted) spawnSync("umount", [small]);
    rmSync(small, { recursive: true, force: true });
  });

  it("fails the runs that need it, and leaves nothing", async ({ skip }) => {
    skip(!isMounted, "no right to mount a small file system");
    const server = await started({ env: { TMPDIR: small } });
    const file = `data:application/octet-stream;base64,${Buffer.alloc(2_000_000).toString("base64")}`;
    const input = await predict(server, { file });
    expect(input).toMatchObject({ http: 200, status: "failed" });
    expect(input.error).toMatch(
      /^\[TEMPORARY_FOLDER\] input "file": the temporary folder cannot be used: it is full \(ENOSPC\)/,
    );
    const output = await predict(server, { mode: "fill", size: 2_000_000 });
    expect(output).toMatchObject({ status: "failed", error: "ENOSPC: no space left on device, write" });
    const training = await send(server, "POST", "/trainings", { input: { dataset: file } });
    expect(training).toMatchObject({ http: 200, status: "failed" });
    expect(readdirSync(small)).toEqual([]);
    await works(server);
    expect(readdirSync(small)).toEqual([]);
  });

  it.skipIf(process.platform !== "linux")("takes the log, and nothing else", async () => {
    const server = await started({ logFile: "/dev/full" });
    await predict(server, { mode: "chatter", count: 10, size: 100 });
    await works(server);
  });
});

describe("what a run prints", () => {
  it("is kept up to a limit", async () => {
    const server = await started();
    const { logs } = await predict(server, { mode: "chatter", count: 70, size: 1_000_000 });
    expect((logs as string).length).toBeGreaterThan(64 * 1024 * 1024 - 1_000_001);
    expect((logs as string).length).toBeLessThan(64 * 1024 * 1024 + 1_000_002);
    await works(server);
  });
});
