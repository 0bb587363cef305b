import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { recordName } from "../prompt/record.ts";
import { configName } from "./read.ts";
import { pickleName, tensorsName } from "./tensor-file.ts";

/** The same for the same adapter: a request's archive lies in another temporary file each time. */
export async function identityOf(source: string, signal?: AbortSignal): Promise<string> {
  const found = await stat(source).catch(() => null);
  if (found?.isFile()) {
    const hash = createHash("sha256");
    await pipeline(createReadStream(source), hash, { signal: signal as AbortSignal });
    return `sha256 ${hash.digest("hex")}`;
  }
  if (!found) return source;
  const folder = await realpath(source);
  const files = await Promise.all(
    [configName, tensorsName, pickleName, recordName].map((name) => stat(join(folder, name)).catch(() => null)),
  );
  return [folder, ...files.map((file) => `${file?.size} ${file?.mtimeMs}`)].join(" ");
}
