import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { anywhere, createFetch, type Fetch } from "../../src/cog/files/network.ts";
import { Log } from "../../src/cog/log.ts";
import { Webhook } from "../../src/cog/prediction/webhook.ts";
import { WebhookRoom } from "../../src/cog/prediction/webhook-room.ts";
import { Receiver } from "./receiver.ts";

let lines: string[];
let fetch: Fetch & { close(): void };
const receivers: Receiver[] = [];
beforeEach(() => {
  lines = [];
  fetch = createFetch({ isAllowed: anywhere, env: {} });
});
afterEach(() => {
  fetch.close();
  for (const receiver of receivers.splice(0)) receiver.close();
});

async function receiving(...answer: Parameters<typeof Receiver.start>): Promise<Receiver> {
  const receiver = await Receiver.start(...answer);
  receivers.push(receiver);
  return receiver;
}

async function webhookTo(url: string, room: WebhookRoom): Promise<Webhook> {
  const log = await Log.open({ level: "info", format: "console" });
  // Of this test, also when a request is cut off at its end.
  const own = lines;
  for (const level of ["warn", "error"] as const)
    vi.spyOn(log, level).mockImplementation((line) => void own.push(line));
  const events = new Set(["start", "output", "logs", "completed"] as const);
  return new Webhook({ url, events, intervalMs: 0, headers: {}, logFields: {}, fetch, log, room });
}

const mebibyte = 1024 ** 2;
const texts = ({ received }: Receiver) => received.map(({ body }) => body.toString());

describe("webhooks that never answer", () => {
  it("take no more connections than the limit, and no more than three quarters of it at one origin", async () => {
    const room = new WebhookRoom({ requests: 4, bytes: mebibyte });
    const [silent, other] = [await receiving(() => ({ instead: "hang" })), await receiving()];
    for (let run = 0; run < 20; run++) (await webhookTo(silent.url, room)).send("start", () => "{}");
    expect(await silent.until(({ length }) => length === 3, 10_000)).toBe(true);
    // A place is left for another one, whose events still come in order.
    const webhook = await webhookTo(other.url, room);
    webhook.send("output", () => "1");
    webhook.send("output", () => "2");
    await webhook.complete(() => "3");
    expect(texts(other)).toEqual(["1", "2", "3"]);
    expect(silent.received).toHaveLength(3);
  });

  it("make no bodies of events that wait, and leave out what does not fit, once with a record", async () => {
    const room = new WebhookRoom({ requests: 1, bytes: 10 * 1024 });
    const silent = await receiving(() => ({ instead: "hang" }));
    const webhook = await webhookTo(silent.url, room);
    let made = 0;
    for (let i = 0; i < 50; i++) {
      webhook.send("output", () => {
        made += 1;
        return "{}";
      });
    }
    expect(await silent.until(({ length }) => length === 1, 10_000)).toBe(true);
    expect(made).toBe(1);
    // Four that wait, and the body that is under way.
    expect(room.held).toBe(4 * 1024 + 2);
    expect(lines).toEqual([
      'the webhook\'s event "output" is left out: webhooks hold 5120 of 10240 bytes (COG_WEBHOOK_MEMORY)',
    ]);
  });

  it("do not keep the terminal event, which has room of its own, nor what it held", async () => {
    const room = new WebhookRoom({ requests: 1, bytes: 10 * 1024 });
    const silentAtFirst = await receiving((_request, index) => (index === 0 ? { instead: "hang" } : {}));
    const webhook = await webhookTo(silentAtFirst.url, room);
    for (let i = 0; i < 50; i++) webhook.send("output", () => `${i}`);
    await webhook.complete(() => "x".repeat(4096));
    expect(texts(silentAtFirst)).toEqual(["0", "x".repeat(4096)]);
    expect(lines.at(-1)).toMatch(/^4 events of the webhook are left out: the run is over$/);
    expect(room.held).toBe(0);
  });
});

describe("terminal events", () => {
  it("are given up, by name, where they do not fit", async () => {
    const room = new WebhookRoom({ requests: 1, bytes: 10_000 });
    const receiver = await receiving();
    room.hold(9000, "terminal");
    await (await webhookTo(receiver.url, room)).complete(() => "x".repeat(1001));
    expect(lines).toEqual(["the terminal webhook is given up: webhooks hold 9000 of 10000 bytes (COG_WEBHOOK_MEMORY)"]);
    expect([receiver.received.length, room.held]).toEqual([0, 9000]);
  });

  it("may be larger than all bytes where nothing else is held", async () => {
    const room = new WebhookRoom({ requests: 1, bytes: 100 });
    const receiver = await receiving();
    await (await webhookTo(receiver.url, room)).complete(() => "x".repeat(1000));
    expect([receiver.received.length, room.held]).toEqual([1, 0]);
  });

  it("wait for their place in line, and hold it for one attempt only", async () => {
    const room = new WebhookRoom({ requests: 1, bytes: mebibyte });
    const receiver = await receiving(({ path }, index) => ({ status: path === "/busy" && index === 0 ? 503 : 200 }));
    const [busy, next] = [await webhookTo(`${receiver.url}/busy`, room), await webhookTo(`${receiver.url}/next`, room)];
    await Promise.all([busy.complete(() => "a"), next.complete(() => "b")]);
    expect(texts(receiver)).toEqual(["a", "b", "a"]);
    expect(room.held).toBe(0);
  });

  it("are given up when the receiver says no", async () => {
    const room = new WebhookRoom({ requests: 1, bytes: mebibyte });
    const receiver = await receiving(() => ({ status: 400 }));
    await (await webhookTo(receiver.url, room)).complete(() => "x");
    expect(receiver.received).toHaveLength(1);
    expect(lines).toEqual(["the webhook answered the terminal event with status 400"]);
  });
});

describe("a place", () => {
  it("that is waited for can be given up", async () => {
    const room = new WebhookRoom({ requests: 1, bytes: 1 });
    const leave = await room.enter("a");
    const abort = new AbortController();
    const waiting = room.enter("a", abort.signal);
    abort.abort(new Error("over"));
    await expect(waiting).rejects.toThrow("over");
    leave();
    (await room.enter("b"))();
    await expect(room.enter("a", abort.signal)).rejects.toThrow("over");
    await sleep(0);
    expect(await room.enter("a")).toBeTypeOf("function");
  });
});
