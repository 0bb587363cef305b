import { readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { takeUploads } from "../../src/cog/files/uploads.ts";
import { JsonError, parseBodyJson } from "../../src/cog/http/body-json.ts";
import { Room } from "../../src/cog/http/room.ts";
import { buildDist, type ServerProcess, startServerProcess } from "./server-process.ts";

const dir = fileURLToPath(new URL("fixtures/guarded", import.meta.url));
beforeAll(buildDist);

const parse = (text: string, limits = { values: 100, keys: 10, depth: 5 }) => parseBodyJson(Buffer.from(text), limits);

describe("the JSON of a body", () => {
  it("is bounded by its values, its keys and its depth before it is parsed", () => {
    expect(parse(`[${"{},".repeat(48)}{}]`).value).toHaveLength(49);
    expect(() => parse(`[${"{},".repeat(100)}{}]`)).toThrow("more than 100 values");
    const keys = (count: number) => `{${Array.from({ length: count }, (_, i) => `"k${i}":1`)}}`;
    expect(Object.keys(parse(keys(10)).value as object)).toHaveLength(10);
    expect(() => parse(keys(11))).toThrow("more than 10 keys");
    expect(parse("[[[[[]]]]]").value).toEqual([[[[[]]]]]);
    expect(() => parse("[[[[[[]]]]]]")).toThrow("deeper than 5 levels");
  });

  it("counts nothing inside texts", () => {
    const text = '[[{",:'.repeat(200);
    const escaped = JSON.stringify({ a: text, b: "\\", c: '\\"' });
    expect(parse(escaped).value).toEqual({ a: text, b: "\\", c: '\\"' });
  });

  it("lists the outermost keys, repeated and escaped ones too", () => {
    expect(parse('{"id":{"id":1},"\\u0069d":"}","x":["id"]}').outermostKeys).toEqual(["id", "id", "x"]);
    expect(parse('["id","id"]').outermostKeys).toEqual([]);
  });

  it.each(["1e999", "-1E+400", "9".repeat(400), `${"9".repeat(299)}e99`])(
    "refuses %s, which no float64 holds",
    (number) => {
      expect(() => parse(`[${number}]`)).toThrow("a number is out of range");
    },
  );

  it.each(["1e99", "1e-999", `0.${"3".repeat(299)}`, "9".repeat(299)])("takes %s", (number) => {
    expect(parse(`[${number}]`).value).toEqual([Number(number)]);
  });

  it.each(['"\\ud800"', '{"\\uDfff":1}', '"', "{", "", "\ufeff{}", '"\\', "[1,]"])("refuses %j", (text) => {
    expect(() => parse(text)).toThrow(JsonError);
  });
});

describe("room", () => {
  it("is given in order, and given back once", async () => {
    const room = new Room(10);
    const { signal } = new AbortController();
    const enter = (bytes: number) => room.enter(bytes, { patienceMs: 60_000, signal });
    const leave = (await enter(8))!;
    const order: string[] = [];
    const large = enter(9).then(() => order.push("large"));
    const small = enter(1).then(() => order.push("small"));
    leave();
    leave();
    await Promise.all([large, small]);
    expect(order).toEqual(["large", "small"]);
  });

  it("lets those behind one that gives up in", async () => {
    const room = new Room(10);
    const abort = new AbortController();
    await room.enter(5, { patienceMs: 60_000, signal: abort.signal });
    const large = room.enter(9, { patienceMs: 60_000, signal: abort.signal });
    const small = room.enter(5, { patienceMs: 60_000, signal: new AbortController().signal });
    abort.abort();
    expect(await large).toBeNull();
    expect(await small).not.toBeNull();
  });

  it("is not waited for without end", async () => {
    const room = new Room(10);
    expect(await room.enter(11, { patienceMs: 10, signal: new AbortController().signal })).toBeNull();
  });
});

describe("a large body", () => {
  let server: ServerProcess;
  beforeAll(async () => {
    server = await startServerProcess({ dir, env: { COG_MAX_INPUT_BYTES: "1000000", COG_BODY_MEMORY: "104857600" } });
    await server.until("READY");
  });
  afterAll(() => server?.kill());

  const post = async (body: string) => {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${server.url}/predictions`, { method: "POST", headers, body });
    return { status: answer.status, text: await answer.text() };
  };
  const predict = async (input: object) => {
    const { status, text } = await post(JSON.stringify({ input }));
    const { output, error, detail } = JSON.parse(text) as { output?: unknown; error?: string; detail?: unknown };
    return { status, output, error, detail };
  };
  const dataUrl = (bytes: number) => `data:text/plain;name=a.txt;base64,${Buffer.alloc(bytes, "x").toString("base64")}`;

  it("may hold files beyond the limit of the rest, whose place is clean afterwards", async () => {
    expect(await predict({ mode: "file", file: dataUrl(5_000_000) })).toMatchObject({ status: 200, output: 5_000_000 });
    const files = [dataUrl(700_000), "data:,short", dataUrl(800_000)];
    expect(await predict({ files })).toMatchObject({ status: 200, output: 3 });
    expect(readdirSync(server.tempDir)).toEqual([]);
  });

  it("is told what is wrong with a file in it", async () => {
    const { error } = await predict({ mode: "file", file: `${dataUrl(900_000)}!` });
    expect(error).toBe('[INPUT_FILE] input "file": the data URL holds characters that are not base64');
    expect(readdirSync(server.tempDir)).toEqual([]);
  });

  it("leaves nothing of its files when it is refused", async () => {
    const answer = await predict({ file: dataUrl(900_000), numbers: ["x"] });
    expect(answer.status).toBe(422);
    await expect.poll(() => readdirSync(server.tempDir)).toEqual([]);
  });

  it("is not written to the disk when it holds more files than a list may have", async () => {
    const folder = join(tmpdir(), `uploads-${process.pid}`);
    const file = `data:,${"x".repeat(2000)}`;
    const input = { files: new Array<string>(1001).fill(file), file };
    const { uploads } = await takeUploads(input, ["files", "file"], folder);
    expect(Object.keys(uploads)).toEqual(["file"]);
    expect(readdirSync(folder)).toHaveLength(1);
    expect(input.files[1000]!.length).toBeLessThan(200);
    rmSync(folder, { recursive: true });
    const answer = await predict({ files: input.files });
    expect([answer.status, JSON.stringify(answer.detail)]).toEqual([422, expect.stringContaining("more than 1000")]);
  });

  it("shows the beginning of its files where the input is shown", async () => {
    const headers = { "content-type": "application/json", prefer: "respond-async" };
    const body = JSON.stringify({ input: { file: dataUrl(900_000) } });
    await fetch(`${server.url}/predictions/shown`, { method: "PUT", headers, body });
    const read = (await (await fetch(`${server.url}/predictions/shown`)).json()) as { input: { file: string } };
    expect(read.input.file).toMatch(/^data:text\/plain;name=a\.txt;base64,eHh4.{10,90}…$/);
  });

  it("may not hold more than the limit beside files", async () => {
    const { status, text } = await post(JSON.stringify({ input: { text: "x".repeat(1_000_000) } }));
    expect([status, text]).toEqual([413, "the body holds more than 1000000 bytes beside files (COG_MAX_INPUT_BYTES)"]);
  });

  it.each([
    ["many values", `{"input":{"x":[${"{},".repeat(300_000)}{}]}}`],
    ["many keys", `{${Array.from({ length: 60_000 }, (_, i) => `"k${i}":1`)}}`],
    ["broken", `{"input":{"text":"${"x".repeat(100_000)}`],
  ])("is refused when it is %s", async (_, body) => {
    expect((await post(body)).status).toBe(400);
  });

  it("takes its turn behind one that is on its way, and comes in when that one has gone", async () => {
    const slow = connect(Number(new URL(server.url).port), "127.0.0.1");
    slow.on("error", () => {});
    slow.write(
      "POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n",
    );
    slow.write(`{"input":{"text":"${"x".repeat(200_000)}`);
    await new Promise((resolve) => setTimeout(resolve, 300));
    let isAnswered = false;
    const other = predict({ mode: "file", file: dataUrl(900_000) }).finally(() => {
      isAnswered = true;
    });
    expect(await predict({})).toMatchObject({ status: 200 });
    expect(isAnswered).toBe(false);
    slow.destroy();
    expect(await other).toMatchObject({ status: 200, output: 900_000 });
  });

  it("gives up its place when it comes too slowly", async () => {
    const impatient = await startServerProcess({ dir, env: { COG_CLIENT_TIMEOUT: "0.3" } });
    await impatient.until("READY");
    const socket = connect(Number(new URL(impatient.url).port), "127.0.0.1");
    const closed = new Promise((resolve) => socket.on("close", resolve));
    socket.on("error", () => {});
    socket.write(
      "POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 70000\r\n\r\n",
    );
    socket.write("x".repeat(66_000));
    const drip = setInterval(() => socket.write("x"), 50);
    await closed;
    clearInterval(drip);
    await impatient.kill();
  });
});
