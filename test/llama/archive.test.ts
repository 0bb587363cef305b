import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { archiveKind, type UnpackOptions, unpackArchive } from "../../src/llama/archive.ts";
import { type TarEntry, tarball } from "./tarball.ts";

let folder: string;
let target: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "archive-test-"));
  target = mkdtempSync(join(folder, "target-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function unpack(bytes: Buffer, maxBytes = 1 << 20, limits: Partial<UnpackOptions> = {}): Promise<string[]> {
  const file = join(folder, "x.tar");
  writeFileSync(file, bytes);
  return unpackArchive(file, target, {
    name: "x.tar",
    missing: "ADAPTER_NOT_FOUND",
    corrupt: "ADAPTER_CORRUPT",
    maxBytes,
    wanted: () => maxBytes,
    ...limits,
  });
}

describe("unpackArchive", () => {
  it("writes plain files and folders, compressed or not", async () => {
    const big = "llama ".repeat(100_000);
    const tar = tarball([
      { path: "./a/", type: "5" },
      { path: "./a/one.txt", body: "one" },
      { path: "two/b.txt", body: big },
      { path: "empty" },
    ]);
    expect(await unpack(gzipSync(tar))).toEqual(["a/one.txt", "two/b.txt", "empty"]);
    expect(readFileSync(join(target, "a/one.txt"), "utf8")).toBe("one");
    expect(readFileSync(join(target, "two/b.txt"), "utf8")).toBe(big);
    rmSync(target, { recursive: true });
    expect(await unpack(tar)).toHaveLength(3);
  });

  it.each<[string, TarEntry]>([
    ["a path that climbs out", { path: "../outside.txt", body: "x" }],
    ["a path that climbs out later", { path: "a/../../outside.txt", body: "x" }],
    ["an absolute path", { path: "/outside.txt", body: "x" }],
    ["a drive letter", { path: "C:outside.txt", body: "x" }],
    ["a backslash", { path: "..\\outside.txt", body: "x" }],
    ["a symbolic link", { path: "link", type: "2", link: ".." }],
    ["a hard link", { path: "link", type: "1", link: "/outside" }],
    ["a device", { path: "null", type: "3" }],
    ["a named pipe", { path: "pipe", type: "6" }],
  ])("refuses %s", async (_, entry) => {
    const bytes = tarball([{ path: "first.txt", body: "1" }, entry, { path: "last.txt", body: "2" }]);
    await expect(unpack(bytes)).rejects.toMatchObject({ code: "ARCHIVE_UNSAFE" });
    expect(existsSync(join(folder, "outside.txt"))).toBe(false);
    expect(readdirSync(target)).not.toContain("link");
  });

  it("refuses the same path twice", async () => {
    const bytes = tarball([
      { path: "a", body: "1" },
      { path: "./a", body: "2" },
    ]);
    await expect(unpack(bytes)).rejects.toThrow('holds "a" twice');
  });

  it("refuses more bytes or entries than allowed", async () => {
    await expect(unpack(tarball([{ path: "a", body: "12345" }]), 4)).rejects.toThrow("more than 4 bytes");
    await expect(unpack(tarball([{ path: "a", size: 0o77777777777 }]))).rejects.toThrow("more than 1048576 bytes");
    const many = Array.from({ length: 1001 }, (_, i) => ({ path: `${i}` }));
    await expect(unpack(tarball(many))).rejects.toThrow("more than 1000 entries");
  });

  it("writes the wanted files alone, and names the others", async () => {
    const bytes = tarball([
      { path: "big.bin", body: "x".repeat(5000) },
      { path: "a/b/c/wanted", body: "1" },
      { path: "other/x", body: "2" },
    ]);
    const wanted = (path: string) => (path.endsWith("wanted") ? 10 : null);
    expect(await unpack(bytes, 1 << 20, { wanted })).toEqual(["big.bin", "a/b/c/wanted", "other/x"]);
    expect(readdirSync(target, { recursive: true })).toEqual(["a", "a/b", "a/b/c", "a/b/c/wanted"]);
    await expect(unpack(bytes, 1 << 20, { wanted: () => 4999 })).rejects.toThrow(
      '"big.bin" of 5000 bytes (4999 at most)',
    );
  });

  it("refuses paths of more folders than anybody needs, before any is made", async () => {
    const deep = (parts: number) => tarball([{ path: `${"d/".repeat(parts - 1)}f`, body: "1" }]);
    await expect(unpack(deep(17))).rejects.toMatchObject({
      code: "ARCHIVE_UNSAFE",
      message: expect.stringContaining("more than 16 parts"),
    });
    expect(readdirSync(target)).toEqual([]);
    expect(await unpack(deep(16))).toHaveLength(1);
  });

  it("refuses what unpacks to far more than its own bytes", async () => {
    const zeros = gzipSync(tarball([{ path: "a", body: Buffer.alloc(65 << 20) }]));
    const most = 1 << 30;
    await expect(unpack(zeros, most, { wanted: () => null })).rejects.toMatchObject({
      code: "ARCHIVE_UNSAFE",
      message: expect.stringContaining(`100 times its own ${zeros.length}`),
    });
    expect(await unpack(zeros, most, { wanted: () => null, maxRatio: 2000 })).toEqual(["a"]);
  });

  it("stops at once when it is canceled, in files that nobody needs too", async () => {
    const controller = new AbortController();
    const seen: string[] = [];
    const wanted = (path: string) => {
      seen.push(path);
      if (path === "b") controller.abort(new Error("canceled"));
      return path === "b" ? null : 1 << 20;
    };
    const big = Buffer.alloc(4 << 20);
    const bytes = gzipSync(tarball(["a", "b", "c", "d"].map((path) => ({ path, body: path === "a" ? "1" : big }))));
    const unpacking = unpack(bytes, 1 << 30, { wanted, signal: controller.signal });
    await expect(unpacking).rejects.toThrow();
    expect(seen).toEqual(["a", "b"]);
  });

  it("reads no further than the end mark", async () => {
    const padded = Buffer.concat([tarball([{ path: "a", body: "1" }]), Buffer.alloc(100 << 20)]);
    expect(await unpack(gzipSync(padded))).toEqual(["a"]);
  });

  it.each([1 << 20, 1 << 13])("refuses extended headers of %d bytes that never end", async (size) => {
    // Of one record each: many short ones take the parser longer, and come to the same end.
    const record = `${size} comment=`.padEnd(size - 1, "a");
    const header = tarball([{ path: "x", type: "x", body: `${record}\n` }]).subarray(0, -1024);
    const bomb = Buffer.alloc(20 << 20, header);
    await expect(unpack(gzipSync(bomb))).rejects.toMatchObject({ code: "ARCHIVE_UNSAFE" });
  });

  it("says that an archive is damaged", async () => {
    const tar = tarball([{ path: "a", body: "x".repeat(5000) }]);
    const packed = gzipSync(tar);
    await expect(unpack(tar.subarray(0, 2000))).rejects.toMatchObject({ code: "ADAPTER_CORRUPT" });
    await expect(unpack(packed.subarray(0, packed.length - 20))).rejects.toMatchObject({ code: "ADAPTER_CORRUPT" });
    const header = Buffer.from(tar);
    header[0] = 0x62;
    await expect(unpack(header)).rejects.toMatchObject({ code: "ADAPTER_CORRUPT" });
  });
});

describe("archiveKind", () => {
  it("goes by the bytes", async () => {
    const kind = (bytes: Buffer) => {
      writeFileSync(join(folder, "f"), bytes);
      return archiveKind(join(folder, "f"), { missing: "ADAPTER_NOT_FOUND" });
    };
    expect(await kind(tarball([{ path: "a" }]))).toBe("tar");
    expect(await kind(gzipSync("a"))).toBe("gzip");
    expect(await kind(Buffer.from("PK\u0003\u0004"))).toBe("zip");
    expect(await kind(Buffer.from("[{}]".repeat(200)))).toBe(null);
    expect(await kind(Buffer.alloc(0))).toBe(null);
  });
});
