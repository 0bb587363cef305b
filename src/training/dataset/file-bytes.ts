import { createGunzip } from "node:zlib";
import { openRegularFile } from "../../llama/regular-file.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { type DataFile, missing } from "./container.ts";
import { Unreadable } from "./problems.ts";

const readSlice = 256 * 1024;
const gzipMagic = 0x1f8b;

/**
 * The bytes of a data file, those of gzip unpacked, counted against what a data set may have.
 * @throws Unreadable for gzip that is damaged, DATASET_NOT_FOUND, ARCHIVE_UNSAFE, the signal's reason
 */
export async function* bytesOf(
  { path, name }: DataFile,
  budget: ByteBudget,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  const handle = await openRegularFile(path, { missing, name });
  const { buffer: start, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
  const stream = handle.createReadStream({ start: 0, highWaterMark: readSlice, signal });
  if (bytesRead < 2 || start.readUInt16BE(0) !== gzipMagic) {
    for await (const chunk of stream) {
      budget.take(chunk.length, { name, read: 1, unpacked: 0 });
      yield chunk;
    }
    return;
  }
  const gunzip = createGunzip({ chunkSize: readSlice });
  let [read, unpacked] = [0, 0];
  stream.on("data", (chunk) => {
    read += chunk.length;
  });
  stream.on("error", (error) => gunzip.destroy(error));
  try {
    for await (const chunk of stream.pipe(gunzip)) {
      unpacked += chunk.length;
      budget.take(chunk.length, { name, read, unpacked });
      yield chunk;
    }
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!code.startsWith("Z_")) throw error;
    throw new Unreadable(`is damaged: ${(error as Error).message}`, "Compress it again with gzip.");
  } finally {
    stream.destroy();
  }
}
