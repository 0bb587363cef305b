import { constants, type Stats } from "node:fs";
import { type FileHandle, lstat, open, stat } from "node:fs/promises";
import { CodedError, type ErrorCode } from "../errors/index.ts";

export interface RegularFileOptions {
  /** Code of a file that is not there or is no regular file. */
  readonly missing: ErrorCode;
  /** The file's name in messages; its path by default. */
  readonly name?: string;
}

export interface ReadOptions extends RegularFileOptions {
  /** Code of a file with more than `maxBytes`. */
  readonly corrupt: ErrorCode;
  readonly maxBytes: number;
}

/**
 * Opens a regular file (or a link to one) for reading. A named pipe, socket, device or folder in its place is refused,
 * because opening or reading it may block for ever.
 * @throws `missing` naming the file and what is there instead
 */
export async function openRegularFile(file: string, options: RegularFileOptions): Promise<FileHandle> {
  const handle = await openIfThere(file, options);
  if (handle === null) throw new CodedError(options.missing, `${options.name ?? file}: no such file`);
  return handle;
}

/**
 * The bytes of a regular file, null where there is none.
 * @throws `missing` for anything else in its place, `corrupt` for a file over the limit
 */
export async function readRegularFile(file: string, options: ReadOptions): Promise<Buffer | null> {
  const handle = await openIfThere(file, options);
  if (handle === null) return null;
  try {
    const { size } = await handle.stat();
    if (size > options.maxBytes) {
      const what = `has ${size} bytes, at most ${options.maxBytes} are read`;
      throw new CodedError(options.corrupt, `${options.name ?? file}: ${what}`);
    }
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

/** A read may give less than was asked for, and no single one may ask for 2 GiB. */
const readSlice = 2 ** 28;

/** `length` bytes from `position` on. @throws `corrupt` where the file ends before */
export async function readBytes(
  handle: FileHandle,
  file: string,
  position: number,
  length: number,
  corrupt: ErrorCode,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const wanted = Math.min(readSlice, length - done);
    const { bytesRead } = await handle.read(bytes, done, wanted, position + done);
    if (bytesRead === 0) {
      throw new CodedError(corrupt, `${file}: ends at byte ${position + done}, before ${position + length}`);
    }
    done += bytesRead;
  }
  return bytes;
}

async function openIfThere(file: string, { missing, name = file }: RegularFileOptions): Promise<FileHandle | null> {
  const refuse = (what: string, cause?: unknown) => new CodedError(missing, `${name}: ${what}`, { cause });
  try {
    // Looked at before: opening some devices has effects of its own.
    const found = await stat(file);
    if (!found.isFile()) throw refuse(`is ${describe(found)}, not a regular file`);
    // Without blocking: a pipe may have taken the file's place since.
    const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const opened = await handle.stat();
    if (opened.isFile()) return handle;
    await handle.close();
    throw refuse(`is ${describe(opened)}, not a regular file`);
  } catch (error) {
    if (error instanceof CodedError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ENOTDIR") throw refuse(`cannot be read: ${code}`, error);
    const link = await lstat(file).catch(() => null);
    if (link !== null) throw refuse("is a link to a file that is not there", error);
    return null;
  }
}

function describe(found: Stats): string {
  if (found.isDirectory()) return "a folder";
  if (found.isFIFO()) return "a named pipe";
  if (found.isSocket()) return "a socket";
  return "a device";
}
