import { afterEach, describe, expect, it, vi } from "vitest";
import { Log } from "../../src/cog/log.ts";
import { LogOutput } from "../../src/cog/log-output.ts";
import { type Backlog, Webhook } from "../../src/cog/prediction/webhook.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

const body = { dump: async () => {} };

async function failing(status: number, backlog: Backlog) {
  const lines: string[] = [];
  vi.spyOn(LogOutput.prototype, "write").mockImplementation((line) => void lines.push(line));
  const log = await Log.open({ level: "info", format: "console" });
  let posts = 0;
  const fetch = async () => {
    posts += 1;
    return { status, headers: {}, url: "", body } as never;
  };
  const options = {
    url: "http://x",
    events: new Set(["completed"] as const),
    intervalMs: 0,
    headers: {},
    logFields: {},
  };
  await new Webhook({ ...options, fetch, log, backlog }).complete(() => "x".repeat(100));
  return { posts, lines };
}

describe("terminal events that nobody takes", () => {
  it("are given up at once when too much waits already", async () => {
    const backlog = { size: 64 * 1024 * 1024 - 99 };
    const { posts, lines } = await failing(503, backlog);
    expect(posts).toBe(1);
    expect(lines).toEqual([
      "too much waits for webhooks that do not answer\n",
      "the terminal webhook could not be delivered\n",
    ]);
    expect(backlog.size).toBe(64 * 1024 * 1024 - 99);
  });

  it("are given up when the receiver says no", async () => {
    const { posts, lines } = await failing(400, { size: 0 });
    expect([posts, lines]).toEqual([1, ["the webhook answered the terminal event with status 400\n"]]);
  });
});
