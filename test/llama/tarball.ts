export interface TarEntry {
  readonly path: string;
  readonly body?: string | Buffer;
  /** ustar type flag: "0" file, "1" hard link, "2" symbolic link, "3" device, "5" folder. */
  readonly type?: string;
  readonly link?: string;
  /** What the header says, where it differs from the body. */
  readonly size?: number;
}

/** A ustar archive written byte by byte, so that it may hold what no tar program writes. */
export function tarball(entries: readonly TarEntry[]): Buffer {
  const blocks = entries.flatMap(({ path, body = "", type = "0", link = "", size }) => {
    const bytes = Buffer.from(body);
    const header = Buffer.alloc(512);
    header.write(path, 0, 100);
    header.write("0000644\x000000000\x000000000\0", 100);
    header.write(`${(size ?? bytes.length).toString(8).padStart(11, "0")}\0`, 124);
    header.write("00000000000\0        ", 136);
    header.write(type, 156);
    header.write(link, 157, 100);
    header.write("ustar\x0000", 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    return [header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}
