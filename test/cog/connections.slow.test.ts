import { Agent, request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
let server: ServerProcess;
let sockets: Client[] = [];

beforeAll(buildDist);
afterEach(async () => {
  for (const { socket } of sockets) socket.destroy();
  sockets = [];
  await server.kill();
});

async function start(env: Record<string, string>, fixture = "steps"): Promise<void> {
  // Answers that repeat a long input are more than a kernel keeps for a connection.
  server = await startServerProcess({ dir: folder(fixture), env: { COG_MAX_INPUT_BYTES: "104857600", ...env } });
  await server.until("READY");
}

interface Client {
  readonly socket: Socket;
  /** What the server sent so far. */
  received(): string;
  readonly closed: Promise<string>;
}

/** A connection that sends this text and nothing more. */
function send(text: string): Client {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1", () => socket.write(text));
  let received = "";
  socket.setEncoding("latin1").on("data", (data: string) => {
    received += data;
  });
  socket.on("error", () => {});
  const closed = new Promise<string>((resolve) => socket.on("close", () => resolve(received)));
  const client = { socket, received: () => received, closed };
  sockets.push(client);
  return client;
}

/** Goes on sending the value of a header, a byte at a time. */
function drip(text: string): Client {
  const client = send(text);
  const timer = setInterval(() => client.socket.write("x"), 50);
  client.socket.on("close", () => clearInterval(timer));
  return client;
}

const halfHeaders = "POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Type: application/js";
const halfBody = (length: number) =>
  `POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n{"input"`;

function predict(input: object, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${server.url}/predictions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ input }),
  });
}

const isOpen = ({ socket }: Client) => !socket.destroyed && !socket.readableEnded;

describe("a slow client", () => {
  it("is answered with 408 and closed when its headers do not come", async () => {
    await start({ COG_HEADER_TIMEOUT: "0.5" });
    const clients = ["", "GET", halfHeaders].map(send);
    clients.push(drip(halfHeaders));
    for (const { closed } of clients) expect(await closed).toMatch(/^HTTP\/1\.1 408 .*\r\nConnection: close\r\n/);
  });

  it("is closed when the rest of its body does not come, however small", async () => {
    await start({ COG_CLIENT_TIMEOUT: "0.5" });
    const clients = [send(halfBody(20)), send(halfBody(200_000))];
    for (const { closed } of clients) expect(await closed).toBe("");
    const refused = send("POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nhalf");
    expect(await refused.closed).toMatch(/^HTTP\/1\.1 404 /);
    expect((await predict({})).status).toBe(200);
  });

  it("is closed when it takes nothing of its answer", async () => {
    await start({ COG_CLIENT_TIMEOUT: "0.5" }, "guarded");
    // Both the input and the error hold it: far more than a kernel keeps for a connection.
    const { id } = (await (await predict({ mode: "echo", text: "x".repeat(15_000_000) })).json()) as { id: string };
    const { socket, closed } = send(`GET /predictions/${id} HTTP/1.1\r\nHost: x\r\n\r\n`);
    socket.pause();
    await sleep(3000);
    socket.resume();
    const answer = await closed;
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer.length).toBeLessThan(Number(/content-length: (\d+)/i.exec(answer)![1]));
  });

  it("is closed when many take nothing of theirs, and the one who reads is served", async () => {
    await start({ COG_ANSWER_MEMORY: String(64 * 1024 ** 2) }, "guarded");
    const { id } = (await (await predict({ mode: "echo", text: "x".repeat(10_000_000) })).json()) as { id: string };
    const get = `GET /predictions/${id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    const idle: Client[] = [];
    for (let i = 0; i < 8; i++) {
      const client = send(get);
      client.socket.pause();
      idle.push(client);
    }
    await expect.poll(() => server.log(), { timeout: 20_000 }).toContain("(COG_ANSWER_MEMORY)");
    const latest = await fetch(`${server.url}/predictions/${id}`);
    expect((await latest.text()).length).toBeGreaterThan(10_000_000);
    let whole = 0;
    for (const { socket, closed } of idle) {
      socket.resume();
      const answer = await closed;
      if (answer.length >= Number(/content-length: (\d+)/i.exec(answer)?.[1] ?? Number.POSITIVE_INFINITY)) whole += 1;
    }
    // Each holds the text twice, beside what the kernel has taken of it.
    expect(whole).toBeLessThanOrEqual(4);
    expect(whole).toBeGreaterThanOrEqual(1);
  });

  it("is waited for when it waits itself: an answer, and a silent stream, longer than all limits", async () => {
    await start({ COG_HEADER_TIMEOUT: "0.3", COG_CLIENT_TIMEOUT: "0.3" });
    const slow = { end: "wait", ms: 1500 };
    expect(await (await predict(slow)).json()).toMatchObject({ status: "succeeded" });
    const stream = await (await predict(slow, { accept: "text/event-stream" })).text();
    expect(stream).toMatch(/event: completed\ndata: .*"succeeded"/);
  });

  it("does not hold up the end of the server", async () => {
    await start({});
    drip(halfHeaders);
    await sleep(200);
    server.child.kill("SIGTERM");
    expect(await server.exited).toEqual({ code: 0, signal: null });
  });

  it("may go on on the same connection while it asks in time", async () => {
    await start({ COG_HEADER_TIMEOUT: "0.5", COG_CLIENT_TIMEOUT: "0.5" });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number>();
    for (let i = 0; i < 4; i++) {
      await new Promise<void>((resolve, reject) => {
        httpRequest(`${server.url}/livez`, { agent }, (res) => {
          ports.add(res.socket.localPort!);
          res.resume().on("end", resolve);
        })
          .on("error", reject)
          .end();
      });
      await sleep(400);
    }
    agent.destroy();
    expect(ports.size).toBe(1);
  });
});

describe("the limit on connections", () => {
  it.each([
    ["half their headers", halfHeaders],
    ["half a small body", halfBody(20)],
    ["half a large body", halfBody(200_000)],
    ["nothing", ""],
  ])("lets clients that have sent %s shut nobody out", async (_what, text) => {
    await start({ COG_MAX_CONNECTIONS: "5" });
    const clients = Array.from({ length: 20 }, () => send(text));
    await Promise.all(clients.slice(0, 15).map(({ closed }) => closed));
    for (let i = 0; i < 10; i++) expect((await predict({})).status).toBe(200);
    expect(clients.filter(isOpen).length).toBeLessThanOrEqual(5);
    expect(server.log()).toContain("all 5 connections are in use (COG_MAX_CONNECTIONS)");
    expect(server.log().match(/connections are in use/g)).toHaveLength(1);
  });

  it("closes nobody who waits for an answer: a new client gets 503", async () => {
    await start({ COG_MAX_CONNECTIONS: "3", COG_QUEUE_LENGTH: "5" });
    const running = Array.from({ length: 3 }, () => predict({ end: "wait", ms: 1000 }));
    // Polled by the log: another client would itself be one of the three.
    await expect.poll(() => server.log().match(/step 0/g)?.length ?? 0, { timeout: 20_000 }).toBeGreaterThan(0);
    await sleep(300);
    expect(await send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").closed).toMatch(
      /^HTTP\/1\.1 503 Service Unavailable\r\nRetry-After: 1\r\n/,
    );
    for (const answer of running) expect(await (await answer).json()).toMatchObject({ status: "succeeded" });
    expect((await predict({})).status).toBe(200);
  });

  it("is made from `ulimit -n` where none is set, and may not be above it", async () => {
    const entry = join(root, "dist", "cog", "server.js");
    const limited = (env: Record<string, string>) =>
      startServerProcess({
        dir: folder("steps"),
        env,
        command: ["bash", "-c", `ulimit -n 256; exec "${process.execPath}" "${entry}" "$@"`, "server"],
      });
    server = await limited({ COG_MAX_CONNECTIONS: "193" });
    expect((await server.exited).code).toBe(1);
    expect(server.log()).toBe(
      'error: [SERVER_SETTINGS] COG_MAX_CONNECTIONS="193" must be a whole number from 1 to 192 (`ulimit -n` less 64)\n' +
        "hint: correct or unset what is named; docs/operate.md lists every variable\n",
    );
    await server.kill();
    server = await limited({});
    await server.until("READY");
    const clients = Array.from({ length: 300 }, () => send(halfHeaders));
    await expect.poll(() => server.log(), { timeout: 20_000 }).toContain("all 192 connections are in use");
    for (let i = 0; i < 20; i++) expect(await (await predict({})).json()).toMatchObject({ status: "succeeded" });
    expect(clients.filter(isOpen).length).toBeLessThanOrEqual(192);
  });
});
