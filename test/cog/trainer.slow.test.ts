import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, it } from "vitest";
import { Runs, startDesk, until } from "./endings.ts";
import type { Receiver } from "./receiver.ts";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/endings", import.meta.url));
let desk: Receiver;
let server: ServerProcess;
let trainings: Runs;
/** The process of the server's own model. */
let model: number;
beforeAll(async () => {
  buildDist();
  desk = await startDesk();
  server = await startServerProcess({ dir });
  await server.until("READY");
  trainings = new Runs(server, desk, "trainings");
  model = new Runs(server, desk, "predictions").pid;
});
afterAll(async () => {
  await server?.kill();
  desk?.close();
});

async function isGone(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
}

/** Starts a training whose one step takes so long, cancels it, and gives the process it is in. */
async function canceled(id: string, end: string, ms: number): Promise<number> {
  const last = trainings.pid;
  await trainings.start(id, { end, ms });
  await trainings.running(id);
  await until(async () => trainings.pid !== last);
  const { pid } = trainings;
  await trainings.cancel(id);
  return pid;
}

describe("a training that is canceled while a step goes on", () => {
  it.for([
    ["that ends soon after", "deaf", 7000],
    ["that never ends", "deaf", 2 ** 30],
    ["that keeps its process from hearing of it", "block", 2 ** 30],
  ] as const)("%s gives back its process, with no next training", async ([, end, ms], { expect }) => {
    const pid = await canceled(`${end}${ms}`, end, ms);
    // The server hears of the end of a process some time after the process is gone.
    expect(await trainings.over(`${end}${ms}`)).toMatchObject({ status: "canceled" });
    await until(() => isGone(pid));
    // The server's own model goes on, and the next training has a process of its own.
    expect(await isGone(model)).toBe(false);
    expect(server.log()).not.toContain("WORKER_DIED");
    expect(await trainings.post({})).toMatchObject({ http: 200, status: "succeeded" });
    expect(readdirSync(server.tempDir)).toEqual([]);
  });

  it("lets the next one wait for that", async ({ expect }) => {
    const queued = await startServerProcess({ dir, env: { COG_QUEUE_LENGTH: "2" } });
    await queued.until("READY");
    const runs = new Runs(queued, desk, "trainings");
    await runs.start("deaf", { end: "deaf", ms: 2 ** 30 });
    await runs.running("deaf");
    const next = runs.post({});
    await runs.cancel("deaf");
    expect(await next).toMatchObject({ http: 200, status: "succeeded" });
    expect(await runs.read("deaf")).toMatchObject({ status: "canceled" });
    await queued.kill();
  });
});

describe("a training whose process is still set up", () => {
  it.for([
    ["is canceled at once", (runs: Runs, id: string) => runs.cancel(id), "canceled"],
    ["fails when that process is killed", async (runs: Runs) => process.kill(runs.pid, "SIGKILL"), "failed"],
  ] as const)("%s, and the next one has its place", async ([, act, status], { expect }) => {
    const slow = await startServerProcess({ dir, env: { SETUP_MS: "1500" } });
    await slow.until("READY");
    const runs = new Runs(slow, desk, "trainings");
    await runs.start("t", { end: "hold" });
    await until(async () => runs.pid > 0);
    const { pid } = runs;
    await act(runs, "t");
    expect(await runs.over("t")).toMatchObject({ status });
    await until(() => isGone(pid));
    expect(await runs.post({})).toMatchObject({ http: 200, status: "succeeded" });
    expect(readdirSync(slow.tempDir)).toEqual([]);
    await slow.kill();
  });
});
