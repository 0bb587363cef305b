import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { download } from "../../../src/llama/adapter/download.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "adapter-download-"));
});
afterEach(() => {
  delete process.env.COG_MIN_DOWNLOAD_SPEED;
  rmSync(folder, { recursive: true });
});

async function get(answer: RequestListener, options: object): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/adapter.tar.gz`;
  const file = join(folder, "download");
  try {
    await download(url, file, { name: "adapter.tar.gz", maxBytes: 1000, ...options });
  } finally {
    server.closeAllConnections();
    server.close();
  }
  return readFileSync(file, "utf8");
}

const drip: RequestListener = (_req, res) => {
  const timer = setInterval(() => res.write("x"), 20);
  res.on("close", () => clearInterval(timer));
};
const slow =
  "adapter.tar.gz: cannot be downloaded: it comes at less than 65536 bytes per second (COG_MIN_DOWNLOAD_SPEED)";

describe("the download of an adapter", () => {
  it("is given up where it drips, or does not begin", async () => {
    const leastSpeed = { bytesPerSecond: 65_536, graceMs: 200 };
    for (const answer of [drip, () => {}]) {
      await expect(get(answer, { leastSpeed })).rejects.toMatchObject({ code: "ADAPTER_NOT_FOUND", message: slow });
    }
  });

  it("takes its least speed from COG_MIN_DOWNLOAD_SPEED", async () => {
    process.env.COG_MIN_DOWNLOAD_SPEED = "0";
    expect(await get((_req, res) => res.end("whole"), {})).toBe("whole");
    process.env.COG_MIN_DOWNLOAD_SPEED = "fast";
    await expect(get(drip, {})).rejects.toMatchObject({
      code: "ENGINE_ARGUMENT",
      message: expect.stringContaining('COG_MIN_DOWNLOAD_SPEED is "fast"'),
    });
  });

  it("keeps its limit of bytes, tells a status, and ends with its signal", async () => {
    await expect(get((_req, res) => res.end("x".repeat(1001)), {})).rejects.toMatchObject({
      code: "ADAPTER_NOT_FOUND",
      message: "adapter.tar.gz: cannot be downloaded: the file is larger than 1000 bytes",
    });
    await expect(get((_req, res) => res.writeHead(404).end(), {})).rejects.toThrow("the server answered 404");
    const signal = AbortSignal.abort(new Error("canceled"));
    await expect(get(drip, { signal })).rejects.toThrow("canceled");
  });
});
