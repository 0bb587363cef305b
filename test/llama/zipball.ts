import { crc32, deflateRawSync } from "node:zlib";

export interface ZipEntry {
  readonly path: string;
  readonly body?: string | Buffer;
  /** As zip programs on Unix write it: 0o100644 is a file, 0o120777 a symbolic link. */
  readonly mode?: number;
  readonly isStored?: boolean;
  /** What the directory says, where it differs from the body. */
  readonly size?: number;
  readonly crc?: number;
  readonly method?: number;
  readonly flags?: number;
}

/** A zip archive written byte by byte, so that it may hold what no zip program writes. */
export function zipball(entries: readonly ZipEntry[]): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { path, body = "", mode = 0o100644, isStored = false, ...said } of entries) {
    const bytes = Buffer.from(body);
    const data = isStored ? bytes : deflateRawSync(bytes);
    const name = Buffer.from(path);
    // From the version that is needed to the length of the extra field, which both headers have in common.
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    shared.writeUInt16LE(said.flags ?? 0, 2);
    shared.writeUInt16LE(said.method ?? (isStored ? 0 : 8), 4);
    shared.writeUInt32LE(said.crc ?? crc32(bytes), 10);
    shared.writeUInt32LE(data.length, 14);
    shared.writeUInt32LE(said.size ?? bytes.length, 18);
    shared.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([Buffer.from("PK\u0003\u0004"), shared, name, data]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE((mode << 16) >>> 0, 6);
    rest.writeUInt32LE(at, 10);
    directory.push(Buffer.concat([Buffer.from("PK\u0001\u0002\u0014\u0003"), shared, rest, name]));
    locals.push(local);
    at += local.length;
  }
  const listed = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\u0005\u0006", "latin1");
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(listed.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...locals, listed, end]);
}
