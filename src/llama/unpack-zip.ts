import { createWriteStream } from "node:fs";
import { type FileHandle, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createInflateRaw } from "node:zlib";
import { CodedError } from "../errors/index.ts";
import { storageFailure } from "../temporary/failure.ts";
import type { UnpackOptions } from "./archive.ts";
import { ArchiveEntries, type BytesLimit } from "./archive-entries.ts";
import { crc32 } from "./crc32.ts";
import { openRegularFile } from "./regular-file.ts";
import { memberData, readZipDirectory, type ZipMember, type ZipRefusal } from "./zip-directory.ts";

/** Entries with the longest names and extra fields that anybody needs. */
const mostDirectoryBytes = 2 ** 20;
const readSlice = 2 ** 18;

/**
 * Unpacks the wanted files of a .zip into an existing empty folder and returns the paths of all of them. What its directory
 * says of sizes is held against the limits before anything is written, and against each file while it is.
 * @throws ARCHIVE_UNSAFE, options.missing, and options.corrupt for an archive that is damaged, encrypted or packed by a method
 *   other than deflate
 */
export async function unpackZip(
  file: string,
  folder: string,
  limit: BytesLimit,
  options: UnpackOptions,
): Promise<string[]> {
  const refusal = refusalOf(options);
  const handle = await openRegularFile(file, options);
  try {
    const { size } = await handle.stat();
    const members = await readZipDirectory(handle, size, mostDirectoryBytes, refusal);
    const entries = new ArchiveEntries(limit, options);
    const wanted: [path: string, member: ZipMember][] = [];
    for (const member of members.values()) {
      const path = entries.allowedPath({ path: pathOf(member), size: member.bytes, kind: kindOf(member) });
      if (path !== null) wanted.push([path, member]);
    }
    for (const [path, member] of wanted) {
      options.signal?.throwIfAborted();
      try {
        await write(handle, member, join(folder, path), refusal, options.signal);
      } catch (error) {
        throw asFailure(error, path, entries, options);
      }
    }
    return entries.files;
  } finally {
    await handle.close();
  }
}

function refusalOf({ name, corrupt }: UnpackOptions): ZipRefusal {
  const refuse = (what: string, hint?: string): never => {
    throw new CodedError(corrupt, `${name}: ${what}`, { hint });
  };
  return {
    file: name,
    errors: { corrupt },
    corrupt: (what) => refuse(`the archive is damaged: ${what}`),
    unsupported: refuse,
  };
}

function pathOf({ name }: ZipMember): string {
  return Buffer.from(name, "latin1").toString("utf8");
}

const unixTypes: ReadonlyMap<number, string> = new Map([
  [0x4000, "folder"],
  [0xa000, "SymbolicLink"],
  [0x1000, "FIFO"],
  [0x2000, "CharacterDevice"],
  [0x6000, "BlockDevice"],
  [0xc000, "Socket"],
]);

function kindOf({ name, unixType }: ZipMember): string {
  return unixTypes.get(unixType) ?? (name.endsWith("/") ? "folder" : "file");
}

async function write(
  handle: FileHandle,
  member: ZipMember,
  target: string,
  refusal: ZipRefusal,
  signal: AbortSignal | undefined,
): Promise<void> {
  const start = await memberData(handle, member, refusal);
  await mkdir(dirname(target), { recursive: true });
  const stored = Readable.from(slices(handle, start, member.packed), { objectMode: false });
  const checked = (bytes: AsyncIterable<Buffer>) => checkedBytes(bytes, member, refusal);
  const to = createWriteStream(target, { flags: "wx" });
  const during = { signal: signal as AbortSignal };
  if (member.isDeflated) await pipeline(stored, createInflateRaw(), checked, to, during);
  else await pipeline(stored, checked, to, during);
}

async function* slices(handle: FileHandle, start: number, length: number): AsyncGenerator<Buffer> {
  for (let done = 0; done < length; ) {
    const bytes = Buffer.alloc(Math.min(readSlice, length - done));
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, start + done);
    if (bytesRead === 0) throw new Error("the file became shorter");
    done += bytesRead;
    yield bytes.subarray(0, bytesRead);
  }
}

/** A file may unpack to more than the directory says of it: it is left at the first byte too many. */
async function* checkedBytes(bytes: AsyncIterable<Buffer>, { name, ...member }: ZipMember, refusal: ZipRefusal) {
  let [count, sum] = [0, 0];
  for await (const chunk of bytes) {
    count += chunk.length;
    if (count > member.bytes) break;
    sum = crc32(chunk, sum);
    yield chunk;
  }
  if (count !== member.bytes || sum !== member.crc32) {
    refusal.corrupt(`${JSON.stringify(name.slice(0, 200))} is not what the zip directory says`);
  }
}

function asFailure(error: unknown, path: string, entries: ArchiveEntries, options: UnpackOptions): unknown {
  if (error instanceof CodedError || options.signal?.aborted) return error;
  const { code = "", message } = error as NodeJS.ErrnoException;
  const shown = JSON.stringify(path.slice(0, 200));
  if (["EEXIST", "EISDIR", "ENOTDIR"].includes(code)) return entries.unsafe(`${shown} in another file's place`);
  if (error instanceof Error && "syscall" in error) return (code === "ENOSPC" && storageFailure(error)) || error;
  return new CodedError(options.corrupt, `${options.name}: the archive is damaged: ${shown}: ${message}`, {
    cause: error,
  });
}
