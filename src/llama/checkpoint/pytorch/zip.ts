import type { FileHandle } from "node:fs/promises";
import { readBytes } from "../../regular-file.ts";
import { quoted, type Refusal } from "./refusal.ts";

/** A file within a zip archive, stored as it is. */
export interface ZipMember {
  readonly name: string;
  readonly bytes: number;
  /** Where its local header begins, and where that of the next member does or the directory: bytes of the file. */
  readonly header: number;
  readonly end: number;
}

const endSignature = 0x06054b50;
const endBytes = 22;
const wideEndSignature = 0x06064b50;
const wideEndBytes = 56;
const wideLocatorSignature = 0x07064b50;
const wideLocatorBytes = 20;
const entrySignature = 0x02014b50;
const entryBytes = 46;
const localSignature = 0x04034b50;
const localBytes = 30;
const mostComment = 0xffff;
const wide = 0xffffffff;

/**
 * The members of a zip archive, from the directory at its end; zip64 too. No member is read, nor a directory of more
 * than `mostBytes`.
 * Refused: members that are compressed or encrypted, names given twice, members that overlap or lie outside the file.
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
export async function readZipDirectory(
  handle: FileHandle,
  size: number,
  mostBytes: number,
  refusal: Refusal,
): Promise<Map<string, ZipMember>> {
  const { count, start, bytes } = await findDirectory(handle, size, refusal);
  if (bytes > mostBytes) refusal.corrupt(`its zip directory has ${bytes} bytes, ${mostBytes} at most are read`);
  const directory = viewOf(await readBytes(handle, refusal.file, start, bytes, refusal.errors.corrupt));
  const entries: { name: string; bytes: number; header: number }[] = [];
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
export async function memberData(handle: FileHandle, member: ZipMember, refusal: Refusal): Promise<number> {
  const { name, header, end, bytes } = member;
  const nameLength = Buffer.byteLength(name, "latin1");
  const length = localBytes + nameLength;
  if (header + length > end) refusal.corrupt(`${quoted(name)} overlaps what follows it`);
  const local = viewOf(await readBytes(handle, refusal.file, header, length, refusal.errors.corrupt));
  const isSame = local.getUint16(26, true) === nameLength && textAt(local, localBytes, nameLength) === name;
  if (local.getUint32(0, true) !== localSignature || !isSame || local.getUint16(8, true) !== 0) {
    refusal.corrupt(`the header of ${quoted(name)} is not what the zip directory says`);
  }
  const data = header + length + local.getUint16(28, true);
  if (data + bytes > end) refusal.corrupt(`${quoted(name)} overlaps what follows it`);
  return data;
}

interface Directory {
  readonly count: number;
  readonly start: number;
  readonly bytes: number;
}

async function findDirectory(handle: FileHandle, size: number, refusal: Refusal): Promise<Directory> {
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

async function wideDirectory(handle: FileHandle, at: number, end: number, refusal: Refusal): Promise<Directory> {
  if (at + wideEndBytes > end) refusal.corrupt("its zip64 directory does not lie where it says");
  const record = viewOf(await readBytes(handle, refusal.file, at, wideEndBytes, refusal.errors.corrupt));
  if (record.getUint32(0, true) !== wideEndSignature) refusal.corrupt("its zip64 directory is damaged");
  const [count, bytes, start] = [32, 40, 48].map((place) => count64(record, place, refusal));
  return { count: count!, bytes: bytes!, start: start! };
}

function parseEntry(view: DataView, at: number, refusal: Refusal) {
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
  const isEncrypted = (view.getUint16(at + 8, true) & 1) !== 0;
  if (isEncrypted || view.getUint16(at + 10, true) !== 0 || packed !== bytes) {
    const how = isEncrypted ? "encrypted" : "compressed";
    refusal.unsupported(
      `${quoted(name)} in it is ${how}`,
      "Save it again with torch.save, which stores tensors as they are",
    );
  }
  return { name, bytes, header, next };
}

/** Sizes and places that need more than 32 bits stand in the extra field of zip64, in this order. */
function widened(view: DataView, narrow: number[], extra: number, extraLength: number, refusal: Refusal): number[] {
  if (!narrow.includes(wide)) return narrow;
  const end = extra + extraLength;
  for (let at = extra; at + 4 <= end; ) {
    const length = view.getUint16(at + 2, true);
    const next = at + 4 + length;
    if (view.getUint16(at, true) === 1 && next <= end) {
      let field = at + 4;
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
function placed(
  entries: readonly { name: string; bytes: number; header: number }[],
  directory: number,
  refusal: Refusal,
): Map<string, ZipMember> {
  const sorted = entries.toSorted((a, b) => a.header - b.header);
  const members = new Map<string, ZipMember>();
  for (const [i, entry] of sorted.entries()) {
    if (members.has(entry.name)) refusal.corrupt(`holds ${quoted(entry.name)} twice`);
    const end = sorted[i + 1]?.header ?? directory;
    if (entry.header + localBytes + entry.bytes > end) {
      refusal.corrupt(`${quoted(entry.name)} overlaps what follows it, or lies outside the file`);
    }
    members.set(entry.name, { ...entry, end });
  }
  return members;
}

function count64(view: DataView, at: number, refusal: Refusal): number {
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
