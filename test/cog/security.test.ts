import { randomBytes } from "node:crypto";
import { request as httpRequest } from "node:http";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Receiver } from "./receiver.ts";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/guarded", import.meta.url));
beforeAll(buildDist);

interface Answer {
  status: number;
  headers: Headers;
  text: string;
  json: Record<string, unknown>;
}

async function send(server: ServerProcess, path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(server.url + path, init);
  const text = await response.text();
  const isJson = response.headers.get("content-type") === "application/json";
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : {} };
}

function predict(server: ServerProcess, input: object, more: object = {}): Promise<Answer> {
  const headers = { "content-type": "application/json" };
  return send(server, "/predictions", { method: "POST", headers, body: JSON.stringify({ input, ...more }) });
}

describe("a server as it comes", () => {
  let server: ServerProcess;
  beforeAll(async () => {
    server = await startServerProcess({ dir, env: { COG_ALLOW_PRIVATE_NETWORK: null } });
    await server.until("READY");
  });
  afterAll(() => server?.kill());

  it.each(["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:7f00:1]", "169.254.169.254"])(
    "fetches no input file from %s",
    async (host) => {
      const inside = await Receiver.start();
      const file = inside.url.replace("127.0.0.1", host);
      const { json } = await predict(server, { mode: "file", file });
      expect(json.status).toBe("failed");
      expect(json.error).toMatch(
        /^\[INPUT_FILE\] input "file": .* is not a public address; the server reaches it with COG_ALLOW_PRIVATE_NETWORK=1$/,
      );
      expect(inside.received).toHaveLength(0);
      inside.close();
    },
  );

  it("sends no webhook into its own network", async () => {
    const inside = await Receiver.start();
    await predict(server, {}, { webhook: inside.url, webhook_events_filter: ["start"] });
    await predict(server, {});
    expect(inside.received).toHaveLength(0);
    await expect.poll(() => server.log()).toContain("webhook: 127.0.0.1 is not a public address");
    inside.close();
  });

  it("masks a secret in what the author prints and throws, and in the server's own log", async () => {
    const token = `s3cret-${randomBytes(6).toString("hex")}`;
    expect((await predict(server, { mode: "print", token })).json.logs).toBe("before ********** after\n");
    expect((await predict(server, { mode: "tell", token })).json.error).toBe("********** was refused");
    await expect.poll(() => server.log()).toContain("Error: ********** was refused");
    expect(server.log()).not.toContain(token);
  });

  it("masks a secret in what is read of the run afterwards", async () => {
    const { json } = await predict(server, { token: "k3y-of-mine" });
    const read = await send(server, `/predictions/${json.id}`);
    expect(read.json.input).toMatchObject({ token: "**********" });
  });

  it("quotes nothing of a body that is not JSON", async () => {
    const headers = { "content-type": "application/json" };
    const body = '{"input":{"token":"k3y-of-mine"';
    const answer = await send(server, "/predictions", { method: "POST", headers, body });
    expect([answer.status, answer.text]).toEqual([400, "the body is not JSON in UTF-8"]);
  });

  it("names no folder of the machine in an error, and sends no stack", async () => {
    const absent = (await predict(server, { mode: "absent" })).json.error;
    expect(absent).toBe("ENOENT: no such file or directory, open 'keys.txt'");
    const own = (await predict(server, { mode: "own", file: "data:text/plain,x" })).json.error;
    expect(own).toMatch(/^cannot use x\.bin, weights or [0-9a-f]{12}file\.txt$/);
  });

  it("refuses lists that are too long, of files sooner", async () => {
    const files = new Array(1001).fill("data:,x");
    const { status, json } = await predict(server, { files });
    expect([status, json]).toEqual([
      422,
      { detail: [{ loc: ["body", "input", "files"], msg: "the list has more than 1000 items", type: "value_error" }] },
    ]);
    expect((await predict(server, { numbers: new Array(100_001).fill("wrong") })).text).toContain(
      "more than 100000 items",
    );
    expect((await predict(server, { numbers: new Array(100_000).fill(1) })).json.output).toBe(100_000);
    const webhookEvents = new Array(101).fill("start");
    expect((await predict(server, {}, { webhook_events_filter: webhookEvents })).status).toBe(422);
  });

  it("refuses a header block and a body that are too large", async () => {
    const status = await new Promise<number>((resolve, reject) => {
      const headers = { "x-large": "x".repeat(300_000) };
      httpRequest(`${server.url}/livez`, { headers }, (res) => resolve(res.resume().statusCode!))
        .on("error", reject)
        .end();
    });
    expect(status).toBe(431);
    const headers = { "content-type": "application/json" };
    const body = Buffer.alloc(104_857_601, 0x20);
    expect((await send(server, "/predictions", { method: "POST", headers, body })).status).toBe(413);
  });

  it("lets no error's text forge its log", async () => {
    await predict(server, { mode: "echo", text: "x\n[other] forged" }, { id: "honest" });
    await expect.poll(() => server.log()).toContain("[honest] [other] forged");
    expect(
      server
        .log()
        .split("\n")
        .filter((line) => line.startsWith("[other]")),
    ).toEqual([]);
  });

  it("lets no id forge or flood its log", async () => {
    const id = `x\n[other] forged ${"y".repeat(5000)}`;
    await predict(server, { mode: "print", token: "four" }, { id });
    const lines = server.log().split("\n");
    expect(lines.filter((line) => line.startsWith("[other]"))).toEqual([]);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(1000);
  });
});

describe("a limit on downloads", () => {
  it("ends one that is announced as larger, and one that turns out to be", async () => {
    const server = await startServerProcess({ dir, env: { COG_MAX_DOWNLOAD_BYTES: "1000" } });
    await server.until("READY");
    const files = await Receiver.start(({ path }) => ({
      body: "x".repeat(path === "/fits" ? 1000 : 1001),
      ...(path === "/announced" ? { headers: { "content-length": "1001" } } : {}),
    }));
    const fetched = async (name: string) => (await predict(server, { mode: "file", file: files.url + name })).json;
    expect(await fetched("/fits")).toMatchObject({ output: 1000 });
    for (const name of ["/announced", "/streamed"]) {
      expect((await fetched(name)).error).toBe('[INPUT_FILE] input "file": the file is larger than 1000 bytes');
    }
    files.close();
    await server.kill();
  });
});

describe("the webhook's token", () => {
  const events = { webhook_events_filter: ["completed"] };
  const authorizations = async (env: Record<string, string>) => {
    const allowed = await Receiver.start();
    const other = await Receiver.start();
    const moving = await Receiver.start(() => ({ status: 307, headers: { location: allowed.url } }));
    const WEBHOOK_ALLOWED_ORIGINS = env.LIST?.replace("ALLOWED", allowed.url).replace("MOVING", moving.url);
    const server = await startServerProcess({
      dir,
      env: { WEBHOOK_AUTH_TOKEN: "t0ken", ...(WEBHOOK_ALLOWED_ORIGINS ? { WEBHOOK_ALLOWED_ORIGINS } : {}) },
    });
    await server.until("READY");
    for (const { url } of [allowed, other, moving]) await predict(server, {}, { webhook: `${url}/`, ...events });
    expect(await allowed.until((received) => received.length === 2, 30_000)).toBe(true);
    expect(await other.until((received) => received.length === 1, 30_000)).toBe(true);
    for (const receiver of [allowed, other, moving]) receiver.close();
    await server.kill();
    const seen = [allowed, other, moving].map(({ received }) => received.map(({ headers }) => headers.authorization));
    return { seen, log: server.log() };
  };

  it("goes to every webhook's own origin, with a warning, but not across a redirect", async () => {
    const { seen, log } = await authorizations({});
    expect(seen).toEqual([["Bearer t0ken", undefined], ["Bearer t0ken"], ["Bearer t0ken"]]);
    expect(log).toContain("WEBHOOK_ALLOWED_ORIGINS");
    expect(log).not.toContain("t0ken");
  });

  it("goes to the origins of the list only", async () => {
    const { seen } = await authorizations({ LIST: "https://example.com, ALLOWED" });
    expect(seen).toEqual([["Bearer t0ken", undefined], [undefined], [undefined]]);
  });
});

describe("a server with a token", () => {
  let server: ServerProcess;
  beforeAll(async () => {
    server = await startServerProcess({ dir, env: { COG_AUTH_TOKEN: "op3n" } });
    await server.until("READY");
  });
  afterAll(() => server?.kill());
  const as = (authorization: string, init: RequestInit = {}) => ({
    ...init,
    headers: { authorization, ...init.headers },
  });

  it.each([
    ["GET", "/"],
    ["GET", "/openapi.json"],
    ["GET", "/metrics"],
    ["POST", "/predictions"],
    ["PUT", "/predictions/x"],
    ["GET", "/predictions/x"],
    ["GET", "/predictions/x/stream"],
    ["POST", "/predictions/x/cancel"],
    ["POST", "/trainings"],
    ["POST", "/shutdown"],
    ["GET", "/nothing"],
    ["GET", "/livez/"],
  ])("answers %s %s with 401 without it", async (method, path) => {
    for (const authorization of ["", "Bearer", "Bearer wrong", "Bearer op3n2", "Basic op3n", "op3n"]) {
      const answer = await send(server, path, as(authorization, { method }));
      expect([authorization, answer.status, answer.headers.get("www-authenticate")]).toEqual([
        authorization,
        401,
        "Bearer",
      ]);
    }
  });

  it("lets the probes through, and everyone who has it", async () => {
    for (const path of ["/livez", "/readyz", "/health-check"]) expect((await send(server, path)).status).toBe(200);
    for (const word of ["Bearer", "bearer"]) expect((await send(server, "/", as(`${word} op3n`))).status).toBe(200);
  });

  it("does not hand it to the author's code", async () => {
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ input: { mode: "environment" } });
    const answer = await send(server, "/predictions", as("Bearer op3n", { method: "POST", headers, body }));
    expect(answer.json).toMatchObject({ status: "succeeded", output: null });
  });
});
