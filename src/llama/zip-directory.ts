import type { FileHandle } from "node:fs/promises";
import type { ErrorCode } from "../errors/index.ts";
import { readBytes } from "./regular-file.ts";
import {
  endBytes,
  endSignature,
  entryBytes,
  entrySignature,
  fieldHeader,
  localBytes,
  localSignature,
  wide,
  wideEndBytes,
  wideEndSignature,
  wideField,
  wideLocatorBytes,
  wideLocatorSignature,
} from "./zip-format.ts";

/** How a zip archive is refused: every message names it. */
export interface ZipRefusal {
  readonly file: string;
  readonly errors: { readonly corrupt: ErrorCode };
  corrupt(what: string): never;
  unsupported(what: string, hint: string): never;
}

/** A file or folder within a zip archive. */
export interface ZipMember {
  /** One character a byte. */
  readonly name: string;
  /** Of the file, and of what is stored for it. */
  readonly bytes: number;
  readonly packed: number;
  readonly isDeflated: boolean;
  readonly crc32: number;
  /** File type bits of its Unix mode (0xa000 of a symbolic link); 0 where the archive does not say. */
  readonly unixType: number;
  /** Where its local header begins, and where that of the next member does or the directory: bytes of the file. */
  readonly header: number;
  readonly end: number;
}

const mostComment = 0xffff;
/** Of "version made by". */
const unix = 3;

/**
 * The members of a zip archive, from the directory at its end; zip64 too. No member is read, nor a directory of more
 * than `mostBytes`.
 * Refused: members that are encrypted or neither stored nor deflated, names given twice, members that overlap or lie outside the file.
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
export async function readZipDirectory(
  handle: FileHandle,
  size: number,
  mostBytes: number,
  refusal: ZipRefusal,
): Promise<Map<string, ZipMember>> {
  const { count, start, bytes } = await findDirectory(handle, size, refusal);
  if (bytes > mostBytes) refusal.corrupt(`its zip directory has ${bytes} bytes, ${mostBytes} at most are read`);
  const directory = viewOf(await readBytes(handle, refusal.file, start, bytes, refusal.errors.corrupt));
  const entries: Entry[] = [];
  let at = 0;
  while (at < bytes) {
    const { next, ...entry } = parseEntry(directory, at, refusal);
    entries.push(entry);
    at = next;
  }
  if (entries.length !== count) refusal.corrupt(`its zip directory lists ${entries.length} files and counts ${count}`);
  return placed(entries, start, refusal);
}

/** Byte offset of a member's data, which its local header decides. */
export async function memberData(handle: FileHandle, member: ZipMember, refusal: ZipRefusal): Promise<number> {
  const { name, header, end, packed, isDeflated } = member;
  const nameLength = Buffer.byteLength(name, "latin1");
  const length = localBytes + nameLength;
  if (header + length > end) refusal.corrupt(`${quoted(name)} overlaps what follows it`);
  const local = viewOf(await readBytes(handle, refusal.file, header, length, refusal.errors.corrupt));
  const isSame = local.getUint16(26, true) === nameLength && textAt(local, localBytes, nameLength) === name;
  const isPackedSo = local.getUint16(8, true) === methodOf(isDeflated);
  if (local.getUint32(0, true) !== localSignature || !isSame || !isPackedSo) {
    refusal.corrupt(`the header of ${quoted(name)} is not what the zip directory says`);
  }
  const data = header + length + local.getUint16(28, true);
  if (data + packed > end) refusal.corrupt(`${quoted(name)} overlaps what follows it`);
  return data;
}

type Entry = Omit<ZipMember, "end">;

const [storedMethod, deflateMethod] = [0, 8];

function methodOf(isDeflated: boolean): number {
  return isDeflated ? deflateMethod : storedMethod;
}

interface Directory {
  readonly count: number;
  readonly start: number;
  readonly bytes: number;
}

async function findDirectory(handle: FileHandle, size: number, refusal: ZipRefusal): Promise<Directory> {
  const tailBytes = Math.min(size, endBytes + mostComment + wideLocatorBytes);
  const tailStart = size - tailBytes;
  const tail = viewOf(await readBytes(handle, refusal.file, tailStart, tailBytes, refusal.errors.corrupt));
  for (let at = tailBytes - endBytes; at >= 0; at--) {
    if (tail.getUint32(at, true) !== endSignature) continue;
    if (at + endBytes + tail.getUint16(at + 20, true) !== tailBytes) continue;
    const found = {
      count: tail.getUint16(at + 10, true),
      bytes: tail.getUint32(at + 12, true),
      start: tail.getUint32(at + 16, true),
    };
    const locator = at - wideLocatorBytes;
    const isWide = locator >= 0 && tail.getUint32(locator, true) === wideLocatorSignature;
    const wideAt = isWide ? count64(tail, locator + 8, refusal) : null;
    const directory = wideAt === null ? found : await wideDirectory(handle, wideAt, tailStart + locator, refusal);
    // Parts of an archive, and data before it, shift what the offsets mean.
    const end = wideAt ?? tailStart + at;
    if (directory.start + directory.bytes !== end) refusal.corrupt("its zip directory does not lie where it says");
    return directory;
  }
  return refusal.corrupt("is truncated: a zip archive's directory is missing at its end");
}

async function wideDirectory(handle: FileHandle, at: number, end: number, refusal: ZipRefusal): Promise<Directory> {
  if (at + wideEndBytes > end) refusal.corrupt("its zip64 directory does not lie where it says");
  const record = viewOf(await readBytes(handle, refusal.file, at, wideEndBytes, refusal.errors.corrupt));
  if (record.getUint32(0, true) !== wideEndSignature) refusal.corrupt("its zip64 directory is damaged");
  const [count, bytes, start] = [32, 40, 48].map((place) => count64(record, place, refusal));
  return { count: count!, bytes: bytes!, start: start! };
}

function parseEntry(view: DataView, at: number, refusal: ZipRefusal): Entry & { readonly next: number } {
  if (at + entryBytes > view.byteLength || view.getUint32(at, true) !== entrySignature) {
    refusal.corrupt("its zip directory is damaged");
  }
  const [nameLength, extraLength, commentLength] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
  const extra = at + entryBytes + nameLength!;
  const next = extra + extraLength! + commentLength!;
  if (next > view.byteLength) refusal.corrupt("its zip directory is damaged");
  const name = textAt(view, at + entryBytes, nameLength!);
  const narrow = [24, 20, 42].map((place) => view.getUint32(at + place, true));
  const [bytes, packed, header] = widened(view, narrow, extra, extraLength!, refusal) as [number, number, number];
  if ((view.getUint16(at + 8, true) & 1) !== 0) {
    refusal.unsupported(`${quoted(name)} in it is encrypted`, "Pack it again without a password");
  }
  const method = view.getUint16(at + 10, true);
  const isDeflated = method === deflateMethod;
  if (!isDeflated && method !== storedMethod) {
    refusal.unsupported(`${quoted(name)} in it is compressed by method ${method}`, "Pack it again with zip");
  }
  if (!isDeflated && packed !== bytes) refusal.corrupt(`${quoted(name)} has two sizes, ${bytes} and ${packed}`);
  const madeOnUnix = view.getUint8(at + 5) === unix;
  const unixType = madeOnUnix ? (view.getUint32(at + 38, true) >>> 16) & 0xf000 : 0;
  return { name, bytes, packed, isDeflated, crc32: view.getUint32(at + 16, true), unixType, header, next };
}

/** Sizes and places that need more than 32 bits stand in the extra field of zip64, in this order. */
function widened(view: DataView, narrow: number[], extra: number, extraLength: number, refusal: ZipRefusal): number[] {
  if (!narrow.includes(wide)) return narrow;
  const end = extra + extraLength;
  for (let at = extra; at + fieldHeader <= end; ) {
    const length = view.getUint16(at + 2, true);
    const next = at + fieldHeader + length;
    if (view.getUint16(at, true) === wideField && next <= end) {
      let field = at + fieldHeader;
      return narrow.map((value) => {
        if (value !== wide) return value;
        if (field + 8 > next) return refusal.corrupt("its zip directory is damaged");
        field += 8;
        return count64(view, field - 8, refusal);
      });
    }
    at = next;
  }
  return refusal.corrupt("its zip directory is damaged");
}

/** Members by name, each with where it must end at the latest. */
function placed(entries: readonly Entry[], directory: number, refusal: ZipRefusal): Map<string, ZipMember> {
  const sorted = entries.toSorted((a, b) => a.header - b.header);
  const members = new Map<string, ZipMember>();
  for (const [i, entry] of sorted.entries()) {
    if (members.has(entry.name)) refusal.corrupt(`holds ${quoted(entry.name)} twice`);
    const end = sorted[i + 1]?.header ?? directory;
    if (entry.header + localBytes + entry.packed > end) {
      refusal.corrupt(`${quoted(entry.name)} overlaps what follows it, or lies outside the file`);
    }
    members.set(entry.name, { ...entry, end });
  }
  return members;
}

function count64(view: DataView, at: number, refusal: ZipRefusal): number {
  const value = view.getBigUint64(at, true);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : refusal.corrupt("its zip directory is damaged");
}

/** One character a byte: names are compared, and told apart, as they are. */
function textAt(view: DataView, at: number, length: number): string {
  return Buffer.from(view.buffer, view.byteOffset + at, length).toString("latin1");
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function quoted(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}...` : name);
}
