import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/secrets", import.meta.url));
const mask = "**********";

let serial = 0;
/** A key of several lines, with what JSON, inspect, URIs and base64 write in another way; every call gives another one. */
function newSecret(): string {
  serial += 1;
  return ["first line", 'it\'s "quoted"\t& more', "grüße/+?=~x", "last-line_1"]
    .map((line) => `${line} ${serial}-of-${serial + 7919}`)
    .join("\n");
}

/** What of `secret` stands in `text`. */
function leaks(text: string, secret: string): string[] {
  const forms = [secret, ...secret.split("\n")].flatMap((part) => [
    part,
    JSON.stringify(part).slice(1, -1),
    inspect(part).slice(1, -1),
    encodeURIComponent(part),
    new URLSearchParams({ part }).toString().slice(5),
    Buffer.from(part).toString("base64").slice(0, -4),
    Buffer.from(part).toString("base64url").slice(0, -4),
  ]);
  return forms.filter((form) => text.includes(form));
}

let server: ServerProcess;
beforeAll(async () => {
  buildDist();
  server = await startServerProcess({ dir });
  await server.until("READY");
});
afterAll(() => server?.kill());

async function predict(input: object, on = server) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${on.url}/predictions`, { method: "POST", headers, body: JSON.stringify({ input }) });
  const text = await response.text();
  return { status: response.status, text, json: JSON.parse(text) as Record<string, unknown> };
}

describe("a secret of several lines", () => {
  it.each([
    ["lines", "line by line"],
    ["writes", "in two writes"],
    ["json", "as JSON"],
    ["inspect", "by util.inspect"],
    ["uri", "in a URI and in a form"],
    ["base64", "in base64, also behind a user's name"],
    ["metric", "as a metric's text, and as keys and items of one"],
    ["metricName", "as a metric's name"],
    ["stack", "in an error and its stack"],
  ])("does not show when it is printed: %s", async (way) => {
    const token = newSecret();
    const { text, json } = await predict({ way, token });
    expect(leaks(text, token)).toEqual([]);
    expect(leaks(JSON.stringify(json, null, 1).replaceAll("\\n", "\n"), token)).toEqual([]);
    expect(text).toContain(way === "metricName" ? "failed" : mask);
    expect(leaks(server.log(), token)).toEqual([]);
  });

  it("does not show its first half when the run ends in the middle of it", async () => {
    const { json } = await predict({ way: "half", token: newSecret() });
    expect(json.logs).toBe(`no newline ${mask}`);
  });

  it.each([
    ["descriptor", "raw"],
    ["child", "child"],
    ["later", "later"],
    ["laterRaw", "later raw"],
  ])("does not show in the server's log: %s", async (way, word) => {
    const token = newSecret();
    const from = server.log().length;
    await predict({ way, token });
    const log = () => server.log().slice(from);
    await expect.poll(log).toContain(`${word} ${way === "later" ? '"' : ""}${mask}`);
    if (way === "descriptor") await expect.poll(() => log().split(`raw ${mask}`).length).toBe(3);
    expect(leaks(log(), token)).toEqual([]);
  });

  it("does not show in what a worker says last", async () => {
    const token = newSecret();
    const { json } = await predict({ way: "crash", token });
    expect(json.error).toContain("[WORKER_DIED]");
    await expect.poll(() => server.log()).toContain(`last words ${mask}`);
    expect(leaks(server.log(), token)).toEqual([]);
    await server.until("READY");
  });
});

describe("secrets", () => {
  it("leave the code of an error as it is", async () => {
    const { json } = await predict({ way: "code", token: "METRIC" });
    expect(json.error).toBe(
      '[METRIC_INVALID] metric "-": a name has at most 128 characters in at most 4 segments of letters, digits and single underscores',
    );
  });

  it("do not show in what the server says of a file whose address holds one", async () => {
    const { json } = await predict({ token: "k3y-of-mine", file: "http://k3y-of-mine.invalid/x" });
    expect(json.error).toContain(`${mask}.invalid`);
    await expect.poll(() => server.log()).toContain(`${mask}.invalid`);
    expect(server.log()).not.toContain("k3y-of-mine");
  });

  it("that are too long, or have too many lines, are refused without being shown", async () => {
    for (const [token, problem] of [
      ["long".repeat(4097), "the secret has more than 16384 characters"],
      ["line\n".repeat(256), "the secret has more than 256 lines"],
    ]) {
      const { status, json } = await predict({ token });
      expect([status, json]).toEqual([
        422,
        { detail: [{ loc: ["body", "input", "token"], msg: problem, type: "value_error" }] },
      ]);
    }
    expect((await predict({ token: "x".repeat(16_384) })).status).toBe(200);
  });
});

describe("a worker that has died", () => {
  it("is replaced although a process of its own holds its output open", async () => {
    const { json } = await predict({ way: "orphan" });
    expect(json.error).toContain("[WORKER_DIED]");
    await server.until("READY");
    expect((await predict({})).json.output).toBe("done");
  });
});
