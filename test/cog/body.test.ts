import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { readBody } from "../../src/cog/http/body.ts";

let server: Server;
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

/** What reading came to, and when the connection was over. */
async function post(
  pieces: string[],
  headers: string,
  options: { limit?: number; silenceMs?: number },
): Promise<string> {
  let outcome: Promise<string> = Promise.resolve("nothing came");
  server = createServer((req, res) => {
    outcome = readBody(req, { silenceMs: 60_000, ...options }).then(
      (body) => (typeof body === "string" ? body : `${Buffer.concat(body).length}`),
      (error: Error) => error.message,
    );
    void outcome.then((text) => res.end(text));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.resume();
  socket.write(`POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers}\r\n\r\n`);
  for (const piece of pieces) {
    await sleep(20);
    socket.write(piece);
  }
  await closed;
  return outcome;
}

describe("the body of a request", () => {
  it("may take its time while something comes", async () => {
    const pieces = new Array(10).fill("x".repeat(10_000));
    expect(await post(pieces, "Content-Length: 100000", { silenceMs: 5000 })).toBe("100000");
  });

  it("is given up when nothing comes any more, however small it is to become", async () => {
    for (const length of [100, 100_000]) {
      const known = post(["x".repeat(50)], `Content-Length: ${length}`, { silenceMs: 100 });
      expect(await known).toBe("the client left");
    }
    expect(await post(["3\r\nabc\r\n"], "Transfer-Encoding: chunked", { silenceMs: 100 })).toBe("the client left");
  });

  it("is told to be too large once it has come", async () => {
    expect(await post(["x".repeat(60), "x".repeat(60)], "Content-Length: 120", { limit: 100 })).toBe("too large");
  });

  it("is told to be too large before its end where it is larger than twice the limit", async () => {
    const began = performance.now();
    const pieces = ["x".repeat(150), "x".repeat(150)];
    expect(await post(pieces, "Content-Length: 100000", { limit: 100 })).toBe("too large");
    expect(performance.now() - began).toBeLessThan(8000);
  });
});
