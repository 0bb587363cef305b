import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, it } from "vitest";
import { until } from "./endings.ts";
import { buildDist, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/faults", import.meta.url));
const silent = "the process that runs the model is stopped or frozen";
beforeAll(buildDist);

/** A server whose model's process may be silent for half a second. */
async function startModel() {
  const server = await startServerProcess({ dir, env: { COG_HEARTBEAT_TIMEOUT: "0.5", COG_MAX_CONCURRENCY: "2" } });
  await server.until("READY");
  const send = (method: string, path: string, input: object, more: Record<string, string> = {}) =>
    fetch(server.url + path, {
      method,
      headers: { "content-type": "application/json", ...more },
      body: JSON.stringify({ input }),
    });
  const post = (input: object) => send("POST", "/predictions", input);
  const output = async (input: object) => ((await (await post(input)).json()) as { output: unknown }).output;
  const status = async (id: string) =>
    ((await (await fetch(`${server.url}/predictions/${id}`)).json()) as { status: string }).status;
  return {
    server,
    post,
    status,
    pid: () => output({ mode: "pid" }) as Promise<number>,
    /** Starts a run, and waits until it runs. */
    async start(id: string, input: object) {
      await send("PUT", `/predictions/${id}`, input, { prefer: "respond-async" });
      await until(async () => (await status(id)) === "processing");
    },
    cancel: (id: string) => fetch(`${server.url}/predictions/${id}/cancel`, { method: "POST" }),
    readiness: async () => {
      const answer = await fetch(`${server.url}/readyz`);
      return { http: answer.status, ...((await answer.json()) as { reason?: string }) };
    },
    metrics: async () => (await fetch(`${server.url}/metrics`)).text(),
  };
}

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

describe.concurrent("a model's process", () => {
  it("that is stopped is not ready and takes no runs; continued, it goes on with the one it has", async ({
    expect,
  }) => {
    const model = await startModel();
    const pid = await model.pid();
    await model.start("held", { mode: "sleep", ms: 500 });
    process.kill(pid, "SIGSTOP");
    await until(async () => (await model.readiness()).http === 503);
    expect((await model.readiness()).reason).toBe(silent);
    expect(await model.server.health()).toMatchObject({ status: "UNHEALTHY", user_healthcheck_error: silent });
    expect((await model.post({})).status).toBe(503);
    expect(await model.metrics()).toContain("cog_ready 0");
    process.kill(pid, "SIGCONT");
    await until(async () => (await model.readiness()).http === 200);
    await until(async () => (await model.status("held")) === "succeeded");
    expect(await model.pid()).toBe(pid);
    await model.server.kill();
  });

  it("that is stopped is ended for a run that is canceled: the slots are free, in a new one", async ({ expect }) => {
    const model = await startModel();
    const pid = await model.pid();
    await model.start("held", { mode: "sleep", ms: 600_000 });
    process.kill(pid, "SIGSTOP");
    await model.cancel("held");
    await until(async () => (await model.status("held")) === "canceled");
    await model.server.until("READY");
    expect(await model.metrics()).toContain("cog_slots_in_use 0");
    expect(await model.pid()).not.toBe(pid);
    await model.server.kill();
  });

  it("that computes without a pause ends with a server that is killed", async () => {
    const model = await startModel();
    const pid = await model.pid();
    await model.start("spinning", { mode: "spin", ms: 600_000 });
    await model.server.kill();
    await until(async () => !isAlive(pid));
  });

  it("that computes without a pause is ready, and not ended for a run that is canceled", async ({ expect }) => {
    const model = await startModel();
    const pid = await model.pid();
    await model.start("spinning", { mode: "spin", ms: 7000 });
    await model.cancel("spinning");
    while ((await model.status("spinning")) === "processing") {
      expect(await model.readiness()).toMatchObject({ http: 200 });
      await sleep(100);
    }
    expect(await model.pid()).toBe(pid);
    await model.server.kill();
  });
});
