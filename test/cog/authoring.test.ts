import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/authoring", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "cog-authoring-"));
const mark = join(folder, "teardown");
let server: ServerProcess;
beforeAll(async () => {
  buildDist();
  server = await startServerProcess({ dir, env: { TEARDOWN_MARK: mark, COG_WEIGHTS: "w.bin" } });
  await server.until("READY");
});
afterAll(async () => {
  await server?.kill();
  rmSync(folder, { recursive: true, force: true });
});

async function predict(input: object, more: object = {}): Promise<Record<string, unknown>> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ input, ...more });
  return (await (await fetch(`${server.url}/predictions`, { method: "POST", headers, body })).json()) as Record<
    string,
    unknown
  >;
}

describe("a predictor that is a named export", () => {
  it("has its defaults anew in each run, absent options as null, and what setup was given", async () => {
    const output = {
      goods: ["bread", "butter"],
      amount: 1,
      options: { bag: true },
      anything: null,
      list: null,
      id: "first",
      context: { customer: "Ada" },
      weights: "w.bin",
      outside: true,
    };
    expect((await predict({}, { id: "first", context: { customer: "Ada" } })).output).toEqual(output);
    expect((await predict({}, { id: "first", context: { customer: "Ada" } })).output).toEqual(output);
  });

  it("takes each variant of a union, objects as they are, and nothing else", async () => {
    const given = { amount: "many", options: { deep: [{ x: null }] }, anything: [1, "a"] };
    expect((await predict(given)).output).toMatchObject(given);
    expect(await predict({ amount: true, options: [] })).toMatchObject({
      detail: [{ loc: ["body", "input", "amount"] }, { loc: ["body", "input", "options"] }],
    });
  });

  it("can tell what a request holds from what it left to the defaults", async () => {
    const asDefault = { what: "given", amount: 1, anything: null };
    expect((await predict(asDefault)).output).toEqual(["amount", "what"]);
  });

  it("finds the run it works for anywhere below, also beside another one", async () => {
    const slow = predict({ what: "slow price", goods: ["a"] }, { context: { customer: "Ada" } });
    const fast = await predict({ what: "price", goods: ["a", "b"] }, { context: { customer: "Bob" } });
    expect(fast).toMatchObject({ output: "4 coins for Bob", logs: "", metrics: { priced: 1 } });
    expect(await slow).toMatchObject({ output: "2 coins for Ada", logs: "waiting\n", metrics: { priced: 1 } });
  });

  it("records, appends and deletes metrics", async () => {
    const { metrics } = await predict({ what: "metrics" });
    expect(metrics).toEqual({ sales: { today: 3 }, kinds: ["a", "b"], predict_time: expect.any(Number) });
  });

  it("reads a file in each way, and gives it back", async () => {
    const list = "data:text/plain,bread%20%C3%A9";
    const { output } = await predict({ what: "file", list });
    expect(output).toEqual({ path: true, text: "bread é", bytes: 8, back: "data:text/plain;base64,YnJlYWQgw6k=" });
  });

  it("is asked how it is, and torn down at the end", async () => {
    expect((await server.health()).status).toBe("READY");
    await predict({ what: "close" });
    expect(await server.health()).toMatchObject({
      status: "UNHEALTHY",
      user_healthcheck_error: expect.stringContaining("False"),
    });
    const ready = await fetch(`${server.url}/readyz`);
    expect([ready.status, await ready.json()]).toMatchObject([
      503,
      { reason: expect.stringContaining("returned False") },
    ]);
    await fetch(`${server.url}/shutdown`, { method: "POST" });
    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(readFileSync(mark, "utf8")).toBe("open: false\n");
  });
});
