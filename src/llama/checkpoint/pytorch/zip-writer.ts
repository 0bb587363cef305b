import type { FileHandle } from "node:fs/promises";
import { crc32 } from "../../crc32.ts";

interface Member {
  readonly name: Buffer;
  readonly offset: number;
  readonly bytes: number;
  readonly crc: number;
}

const alignment = 64;
const localHeaderBytes = 30;
/** Sizes and places that do not fit into 32 bits stand in a field of their own (zip64). */
const tooLarge = 0xffff_ffff;
/** ID and length of an extra field. */
const fieldHeader = 4;
const [zip64Field, paddingField] = [0x0001, 0x4246];

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
    const before = offset + localHeaderBytes + encoded.length + 2 * fieldHeader + 16;
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
    const directory = Buffer.concat(this.#members.map(directoryEntry));
    const end = Buffer.alloc(56 + 20 + 22);
    end.writeUInt32LE(0x0606_4b50, 0);
    end.writeBigUInt64LE(44n, 4);
    end.writeUInt16LE(45, 12);
    end.writeUInt16LE(45, 14);
    for (const place of [24, 32]) end.writeBigUInt64LE(BigInt(this.#members.length), place);
    end.writeBigUInt64LE(BigInt(directory.length), 40);
    end.writeBigUInt64LE(BigInt(start), 48);
    end.writeUInt32LE(0x0706_4b50, 56);
    end.writeBigUInt64LE(BigInt(start + directory.length), 64);
    end.writeUInt32LE(1, 72);
    end.writeUInt32LE(0x0605_4b50, 76);
    for (const place of [84, 86]) end.writeUInt16LE(Math.min(0xffff, this.#members.length), place);
    end.writeUInt32LE(Math.min(tooLarge, directory.length), 88);
    end.writeUInt32LE(Math.min(tooLarge, start), 92);
    await this.#write(Buffer.concat([directory, end]), start);
  }

  async #write(bytes: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      done += (await this.#file.write(bytes, done, Math.min(2 ** 28, bytes.length - done), at + done)).bytesWritten;
    }
  }
}

function localHeader({ name, bytes, crc }: Member, padding: number): Buffer {
  const header = Buffer.alloc(localHeaderBytes);
  header.writeUInt32LE(0x0403_4b50, 0);
  header.writeUInt16LE(45, 4);
  header.writeUInt32LE(crc, 14);
  header.writeUInt32LE(tooLarge, 18);
  header.writeUInt32LE(tooLarge, 22);
  header.writeUInt16LE(name.length, 26);
  header.writeUInt16LE(2 * fieldHeader + 16 + padding, 28);
  const sizes = extraField(zip64Field, [bytes, bytes]);
  const filler = Buffer.alloc(fieldHeader + padding, "Z");
  filler.writeUInt16LE(paddingField, 0);
  filler.writeUInt16LE(padding, 2);
  return Buffer.concat([header, name, sizes, filler]);
}

function directoryEntry({ name, offset, bytes, crc }: Member): Buffer {
  const extra = extraField(zip64Field, [bytes, bytes, offset]);
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x0201_4b50, 0);
  entry.writeUInt16LE(45, 4);
  entry.writeUInt16LE(45, 6);
  entry.writeUInt32LE(crc, 16);
  entry.writeUInt32LE(tooLarge, 20);
  entry.writeUInt32LE(tooLarge, 24);
  entry.writeUInt16LE(name.length, 28);
  entry.writeUInt16LE(extra.length, 30);
  entry.writeUInt32LE(tooLarge, 42);
  return Buffer.concat([entry, name, extra]);
}

function extraField(id: number, values: readonly number[]): Buffer {
  const field = Buffer.alloc(fieldHeader + 8 * values.length);
  field.writeUInt16LE(id, 0);
  field.writeUInt16LE(8 * values.length, 2);
  for (const [i, value] of values.entries()) field.writeBigUInt64LE(BigInt(value), fieldHeader + 8 * i);
  return field;
}
