import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { download } from "../../src/cog/files/download.ts";
import { anywhere, createFetch } from "../../src/cog/files/network.ts";

const fetch = createFetch({ isAllowed: anywhere, env: {} });
afterAll(() => fetch.close());
let folder: string;
let server: Server;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "download-test-"));
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

async function get(answer: RequestListener, bytesPerSecond: number): Promise<string> {
  server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const { path } = await download(`http://127.0.0.1:${port}/data.bin`, {
    folder,
    fetch,
    userAgent: null,
    maxBytes: 10_000_000,
    leastSpeed: { bytesPerSecond, graceMs: 300 },
    signal: new AbortController().signal,
  });
  return readFile(path, "utf8");
}

/** Sends `piece` every 20 ms, for as long as it is taken or `count` times. */
const drip =
  (piece: string, count = Number.POSITIVE_INFINITY): RequestListener =>
  (_req, res) => {
    let sent = 0;
    const timer = setInterval(() => {
      sent += 1;
      if (sent <= count) res.write(piece);
      else res.end();
    }, 20);
    res.on("close", () => clearInterval(timer));
  };

describe("a download", () => {
  it("that drips is given up, however often a byte comes", async () => {
    await expect(get(drip("x"), 65_536)).rejects.toThrow(
      "it comes at less than 65536 bytes per second (COG_MIN_DOWNLOAD_SPEED)",
    );
  });

  it("whose answer does not begin is given up by the same limit", async () => {
    await expect(get(() => {}, 65_536)).rejects.toThrow("COG_MIN_DOWNLOAD_SPEED");
  });

  it("that is slow but fast enough may take longer than the grace", async () => {
    expect(await get(drip("x".repeat(1000), 50), 100)).toBe("x".repeat(50_000));
  });

  it("may be of any speed where that is allowed", async () => {
    expect(await get(drip("x", 30), 0)).toBe("x".repeat(30));
  });
});
