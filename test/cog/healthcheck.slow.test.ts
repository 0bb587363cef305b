import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/blocking", import.meta.url));
let server: ServerProcess;
beforeAll(async () => {
  buildDist();
  server = await startServerProcess({ dir });
  await server.until("READY");
});
afterAll(() => server?.kill());

const timedOut = "healthcheck timed out after 5.0 seconds";

/** How often the healthcheck has been called before the end of this prediction. */
async function predict(ms: number): Promise<number> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ input: { ms } });
  const response = await fetch(`${server.url}/predictions`, { method: "POST", headers, body });
  return ((await response.json()) as { output: number }).output;
}

async function ready(): Promise<object> {
  const response = await fetch(`${server.url}/readyz`);
  return { http: response.status, ...((await response.json()) as object) };
}

describe("a healthcheck behind a predict that blocks its process", () => {
  it("is answered in time, called once for all who ask, and asked again afterwards", async () => {
    const before = await predict(0);
    let isOver = false;
    const run = predict(20_000).finally(() => {
      isOver = true;
    });
    const metrics = async () => (await fetch(`${server.url}/metrics`)).text();
    await expect.poll(metrics).toContain("cog_slots_in_use 1");
    const polls = () => Promise.all([...Array.from({ length: 5 }, () => [server.health(), ready()])].flat());
    // The first round waits for the limit; who asks after it knows at once.
    for (let round = 0; round < 2; round++) {
      for (const answer of await polls()) {
        if ("http" in answer) expect(answer).toEqual({ http: 503, status: "not ready", reason: timedOut });
        else expect(answer).toMatchObject({ status: "UNHEALTHY", user_healthcheck_error: timedOut });
      }
    }
    expect(isOver).toBe(false);
    await run;
    expect(await predict(0)).toBe(before + 1);
    expect(await server.health()).toMatchObject({ status: "READY" });
    expect(await ready()).toEqual({ http: 200, status: "ready" });
  });
});
