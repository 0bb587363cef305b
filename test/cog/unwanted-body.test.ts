import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/steps", import.meta.url));
let server: ServerProcess;
beforeAll(async () => {
  buildDist();
  server = await startServerProcess({ dir, env: { COG_AUTH_TOKEN: "op3n" } });
  await server.until("READY");
});
afterAll(() => server?.kill());

const chunk = Buffer.from(`10000\r\n${"x".repeat(65_536)}\r\n`);

/** Sends a body without an end, as fast as it is taken, until the connection is closed. */
function sendEndless(head: string): Promise<{ answer: string; sent: number }> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    let answer = "";
    let isOpen = true;
    const more = () => {
      while (isOpen && socket.write(chunk));
    };
    socket.setEncoding("latin1").on("data", (text: string) => {
      answer += text;
    });
    socket.on("error", () => {});
    socket.on("drain", more);
    socket.on("close", () => {
      isOpen = false;
      resolve({ answer, sent: socket.bytesWritten });
    });
    socket.write(`${head}\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`);
    more();
  });
}

const token = "Authorization: Bearer op3n";
const cases: [string, string, number][] = [
  ["nobody may send", "POST /predictions HTTP/1.1\r\nContent-Type: application/json", 401],
  ["goes nowhere", `POST /nothing HTTP/1.1\r\n${token}`, 404],
  ["no route takes", `POST /openapi.json HTTP/1.1\r\n${token}`, 405],
  ["a probe carries", "GET /livez HTTP/1.1", 200],
  ["has a path that is too long", `POST /${"x".repeat(66_000)} HTTP/1.1\r\n${token}`, 414],
  ["has a path that is none", `PUT /predictions/%ff HTTP/1.1\r\n${token}`, 400],
  ["is of another type", `POST /predictions HTTP/1.1\r\nContent-Type: text/plain\r\n${token}`, 415],
  ["is of no type", `POST /predictions HTTP/1.1\r\n${token}`, 200],
  ["comes with a cancel", `POST /predictions/x/cancel HTTP/1.1\r\n${token}`, 404],
];

describe("a body without an end that", () => {
  it.concurrent.each(cases)("%s is answered, and read no further", async (_what, head, status) => {
    const { answer, sent } = await sendEndless(head);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    // Some lies in the buffers of both sides.
    expect(sent).toBeLessThan(32 * 1024 * 1024);
  });
});

describe("a small body that nobody wants", () => {
  it("leaves its connection usable", async () => {
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    let received = "";
    socket.setEncoding("latin1").on("data", (text: string) => {
      received += text;
    });
    socket.write("POST /predictions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    await expect.poll(() => received).toMatch(/^HTTP\/1\.1 401 /);
    socket.write("2\r\n{}\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    await expect.poll(() => received).toContain("HTTP/1.1 200 ");
    socket.destroy();
  });
});
