import type { FileHandle } from "node:fs/promises";
import { crc32 } from "../../crc32.ts";
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
} from "../../zip-format.ts";

interface Member {
  readonly name: Buffer;
  readonly offset: number;
  readonly bytes: number;
  readonly crc: number;
}

const alignment = 64;
const paddingField = 0x4246;
/** "Version needed": the first with zip64. */
const version = 45;

/**
 * Writes a zip archive of stored members as PyTorch has it: data on multiples of 64 bytes, zip64 throughout.
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
export class ZipWriter {
  readonly #file: FileHandle;
  readonly #members: Member[] = [];
  #at = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Adds a member. @param bytes what the parts have together */
  async add(name: string, bytes: number, parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
    const encoded = Buffer.from(name);
    const offset = this.#at;
    const before = offset + localBytes + encoded.length + 2 * fieldHeader + 16;
    const padding = (alignment - (before % alignment)) % alignment;
    const headerBytes = before + padding - offset;
    let at = offset + headerBytes;
    let crc = 0;
    for await (const part of parts) {
      await this.#write(part, at);
      crc = crc32(part, crc);
      at += part.length;
    }
    if (at !== offset + headerBytes + bytes)
      throw new RangeError(`${name}: ${at - offset - headerBytes} bytes of ${bytes}`);
    const member = { name: encoded, offset, bytes, crc };
    await this.#write(localHeader(member, padding), offset);
    this.#members.push(member);
    this.#at = at;
  }

  /** Writes the directory, after which nothing can be added. */
  async end(): Promise<void> {
    const start = this.#at;
    const [locator, last] = [wideEndBytes, wideEndBytes + wideLocatorBytes];
    const directory = Buffer.concat(this.#members.map(directoryEntry));
    const end = Buffer.alloc(last + endBytes);
    end.writeUInt32LE(wideEndSignature, 0);
    end.writeBigUInt64LE(BigInt(wideEndBytes - 12), 4);
    for (const place of [12, 14]) end.writeUInt16LE(version, place);
    for (const place of [24, 32]) end.writeBigUInt64LE(BigInt(this.#members.length), place);
    end.writeBigUInt64LE(BigInt(directory.length), 40);
    end.writeBigUInt64LE(BigInt(start), 48);
    end.writeUInt32LE(wideLocatorSignature, locator);
    end.writeBigUInt64LE(BigInt(start + directory.length), locator + 8);
    end.writeUInt32LE(1, locator + 16);
    end.writeUInt32LE(endSignature, last);
    for (const place of [last + 8, last + 10]) end.writeUInt16LE(Math.min(0xffff, this.#members.length), place);
    end.writeUInt32LE(Math.min(wide, directory.length), last + 12);
    end.writeUInt32LE(Math.min(wide, start), last + 16);
    await this.#write(Buffer.concat([directory, end]), start);
  }

  async #write(bytes: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      done += (await this.#file.write(bytes, done, Math.min(2 ** 28, bytes.length - done), at + done)).bytesWritten;
    }
  }
}

function localHeader({ name, bytes, crc }: Member, padding: number): Buffer {
  const header = Buffer.alloc(localBytes);
  header.writeUInt32LE(localSignature, 0);
  header.writeUInt16LE(version, 4);
  header.writeUInt32LE(crc, 14);
  header.writeUInt32LE(wide, 18);
  header.writeUInt32LE(wide, 22);
  header.writeUInt16LE(name.length, 26);
  header.writeUInt16LE(2 * fieldHeader + 16 + padding, 28);
  const sizes = extraField(wideField, [bytes, bytes]);
  const filler = Buffer.alloc(fieldHeader + padding, "Z");
  filler.writeUInt16LE(paddingField, 0);
  filler.writeUInt16LE(padding, 2);
  return Buffer.concat([header, name, sizes, filler]);
}

function directoryEntry({ name, offset, bytes, crc }: Member): Buffer {
  const extra = extraField(wideField, [bytes, bytes, offset]);
  const entry = Buffer.alloc(entryBytes);
  entry.writeUInt32LE(entrySignature, 0);
  for (const place of [4, 6]) entry.writeUInt16LE(version, place);
  entry.writeUInt32LE(crc, 16);
  entry.writeUInt32LE(wide, 20);
  entry.writeUInt32LE(wide, 24);
  entry.writeUInt16LE(name.length, 28);
  entry.writeUInt16LE(extra.length, 30);
  entry.writeUInt32LE(wide, 42);
  return Buffer.concat([entry, name, extra]);
}

function extraField(id: number, values: readonly number[]): Buffer {
  const field = Buffer.alloc(fieldHeader + 8 * values.length);
  field.writeUInt16LE(id, 0);
  field.writeUInt16LE(8 * values.length, 2);
  for (const [i, value] of values.entries()) field.writeBigUInt64LE(BigInt(value), fieldHeader + 8 * i);
  return field;
}
