import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/storage", import.meta.url));
let server: ServerProcess;
beforeAll(buildDist);
afterEach(() => server.kill());

async function post(accept: string): Promise<{ status: number; text: string }> {
  const headers = { "content-type": "application/json", accept };
  const answer = await fetch(`${server.url}/predictions`, { method: "POST", headers, body: '{"input":{}}' });
  return { status: answer.status, text: await answer.text() };
}

describe("a request for a stream", () => {
  it("gets 406 before the first setup, when nobody knows whether the model streams, and 503 while it is started again", async () => {
    server = await startServerProcess({ dir });
    await server.until("STARTING");
    expect(await post("text/event-stream")).toMatchObject({ status: 406 });
    await server.until("READY");
    const { output } = JSON.parse((await post("application/json")).text) as { output: [number] };
    process.kill(output[0], "SIGKILL");
    await server.until("DEFUNCT", "STARTING");
    expect((await post("text/event-stream")).status).toBe(503);
    expect((await post("application/json")).status).toBe(503);
    await server.until("READY");
    expect((await post("text/event-stream")).text).toMatch(/event: completed\ndata: .*"succeeded"/);
  });
});
