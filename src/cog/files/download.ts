import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { DownloadLimits, type LeastSpeed } from "../../network/download-limits.ts";
import { storageFailure } from "../../temporary/failure.ts";
import { makeFolder } from "../../temporary/folders.ts";
import type { InputFile } from "./data-url-file.ts";
import { nameOf, storedName } from "./download-name.ts";
import type { Fetch } from "./network.ts";

export interface DownloadOptions {
  /** Made when the first file comes. */
  readonly folder: string;
  readonly fetch: Fetch;
  readonly userAgent: string | null;
  readonly maxBytes: number;
  readonly leastSpeed: LeastSpeed;
  readonly signal: AbortSignal;
}

/** Fetches a URL into a file of `folder`. Throws for what goes wrong, for too many bytes, and for too few in its time. */
export async function download(url: string, options: DownloadOptions): Promise<InputFile> {
  const { maxBytes, leastSpeed, signal } = options;
  const limits = new DownloadLimits(maxBytes, leastSpeed, signal);
  try {
    return await downloadWithin(limits, url, options);
  } catch (error) {
    // The streams say no more than that they were aborted.
    throw limits.signal.aborted ? limits.signal.reason : (storageFailure(error) ?? error);
  } finally {
    limits.close();
  }
}

async function downloadWithin(limits: DownloadLimits, url: string, options: DownloadOptions): Promise<InputFile> {
  const { folder, fetch, userAgent } = options;
  const { signal } = limits;
  const headers: Record<string, string> = userAgent === null ? {} : { "user-agent": userAgent };
  const answer = await fetch(url, { method: "GET", headers, signal });
  try {
    limits.checkSize(Number(answer.headers["content-length"] ?? 0));
  } catch (error) {
    // Not read to its end: that is what is to be avoided. It complains of that, and nobody else would hear it.
    answer.body.on("error", () => {}).destroy();
    throw error;
  }
  if (answer.status < 200 || answer.status > 299) {
    await answer.body.dump();
    throw new Error(`the server answered with status ${answer.status}`);
  }
  const name = nameOf(url);
  makeFolder(folder);
  const path = join(folder, storedName(name));
  await pipeline(answer.body, limits.meter(), createWriteStream(path, { mode: 0o600 }), { signal });
  return { path, name };
}
