import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/secrets", import.meta.url));
let server: ServerProcess;
beforeAll(buildDist);
afterEach(() => server?.kill());

async function start(env: Record<string, string> = {}): Promise<void> {
  server = await startServerProcess({ dir, env });
  await server.until("READY");
}

async function predict(input: object): Promise<Record<string, unknown>> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ input });
  return (await (await fetch(`${server.url}/predictions`, { method: "POST", headers, body })).json()) as never;
}

describe("standard error that nobody reads", () => {
  it("holds nothing up, and the log says afterwards how many lines were lost", async () => {
    await start();
    server.child.stderr!.pause();
    for (let i = 0; i < 2; i++) expect((await predict({ way: "flood" })).status).toBe("succeeded");
    await server.until("READY");
    server.child.stderr!.resume();
    await expect.poll(() => server.log(), { timeout: 20_000 }).toMatch(/\d+ lines of the log were lost/);
    const lost = Number(/(\d+) lines of the log were lost/.exec(server.log())![1]);
    expect(server.log().split("x".repeat(1_000_000)).length - 1 + lost).toBe(40);
  });

  it("does not keep a server from ending", async () => {
    await start();
    server.child.stderr!.pause();
    await predict({ way: "flood" });
    server.child.kill("SIGTERM");
    expect((await server.exited).code).toBe(0);
  });

  it("may be closed", async () => {
    await start();
    server.child.stderr!.destroy();
    for (let i = 0; i < 2; i++) expect((await predict({ way: "controls" })).status).toBe("succeeded");
    server.child.kill("SIGTERM");
    expect((await server.exited).code).toBe(0);
  });

  it("is written to its end by a server that ends", async () => {
    await start();
    await predict({ way: "flood" });
    server.child.kill("SIGTERM");
    await new Promise((resolve) => server.child.on("close", resolve));
    expect(server.log()).not.toContain("were lost");
    expect(server.log().split("x".repeat(1_000_000)).length - 1).toBe(20);
  });
});

describe("control characters that a run prints", () => {
  const printed = "a\rb\u001b[31mc\u009bd\u0085e\u000bf\u2028g\u202eh\u2066i\n";

  it("reach no terminal from LOG_FORMAT=console", async () => {
    await start();
    expect((await predict({ way: "controls" })).logs).toBe(printed);
    await expect
      .poll(() => server.log())
      .toContain("a\\u000db\\u001b[31mc\\u009bd\\u0085e\\u000bf\\u2028g\\u202eh\\u2066i\n");
  });

  it("are escaped in JSON, which reads as what was printed", async () => {
    await start({ LOG_FORMAT: "json" });
    await predict({ way: "controls" });
    await expect.poll(() => server.log()).toContain("\\u001b[31m");
    expect(server.log()).not.toMatch(/(?!\n)[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
    const lines = server.log().trimEnd().split("\n");
    const messages = lines.map((line) => (JSON.parse(line) as { fields: { message: string } }).fields.message);
    expect(messages).toContain(printed.trimEnd());
  });
});
