import { readdirSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/storage", import.meta.url));
let slow: Server;
let slowUrl: string;
beforeAll(async () => {
  buildDist();
  // A part of a file, and no more.
  slow = createServer((_req, res) => res.write("x".repeat(1000)));
  await new Promise<void>((resolve) => slow.listen(0, "127.0.0.1", resolve));
  slowUrl = `http://127.0.0.1:${(slow.address() as AddressInfo).port}/file.txt`;
});
afterAll(() => {
  slow.closeAllConnections();
  slow.close();
});

const within = { timeout: 20_000 };

async function start(server: ServerProcess, id: string, input: object): Promise<void> {
  const headers = { "content-type": "application/json", prefer: "respond-async" };
  const body = JSON.stringify({ input });
  await fetch(`${server.url}/predictions/${id}`, { method: "PUT", headers, body });
}

const kindsIn = (folder: string) => readdirSync(folder).map((name) => name.split(".")[0]!.slice("llama-lora-".length));
const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Resolves to the process of the model. */
async function pidOf(server: ServerProcess): Promise<number> {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${server.url}/predictions`, { method: "POST", headers, body: '{"input":{}}' });
  return ((await answer.json()) as { output: number[] }).output[0]!;
}

describe("what a process that was killed left", () => {
  it("is removed by the next server: downloads, bodies, folders of runs and of the model", async () => {
    const env = { COG_MAX_CONCURRENCY: "4" };
    const server = await startServerProcess({ dir, env });
    await server.until("READY");
    const pid = await pidOf(server);
    await start(server, "download", { file: slowUrl });
    await start(server, "folder", { makes: "run folder", ms: 600_000 });
    await start(server, "unpacking", { makes: "own folder", ms: 600_000 });
    await start(server, "body", { file: `data:,${"x".repeat(200_000)}`, ms: 600_000 });
    const received = connect(Number(new URL(server.url).port), "127.0.0.1").on("error", () => {});
    received.write(
      `POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999999\r\n\r\n{"input":{"file":"data:,${"x".repeat(300_000)}`,
    );
    await expect.poll(() => kindsIn(server.tempDir).sort(), within).toEqual(["adapter", "body", "run", "run"]);
    server.child.kill("SIGKILL");
    await server.exited;
    await expect.poll(() => isAlive(pid), within).toBe(false);
    expect(readdirSync(server.tempDir)).toHaveLength(4);
    const next = await startServerProcess({ dir, env: { ...env, TMPDIR: server.tempDir } });
    await next.until("READY");
    await expect.poll(() => readdirSync(server.tempDir), within).toEqual([]);
    await next.kill();
    await server.kill();
    received.destroy();
  });

  it("is removed by the model's next process where the server lives on", async () => {
    const server = await startServerProcess({ dir });
    await server.until("READY");
    const pid = await pidOf(server);
    await start(server, "unpacking", { makes: "own folder", ms: 600_000 });
    await expect.poll(() => kindsIn(server.tempDir), within).toEqual(["adapter"]);
    process.kill(pid, "SIGKILL");
    await expect.poll(() => readdirSync(server.tempDir), within).toEqual([]);
    await server.until("READY");
    await server.kill();
  });
});
