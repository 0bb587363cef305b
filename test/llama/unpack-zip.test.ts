import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type UnpackOptions, unpackArchive } from "../../src/llama/archive.ts";
import { type ZipEntry, zipball } from "./zipball.ts";

let folder: string;
let target: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "zip-test-"));
  target = mkdtempSync(join(folder, "target-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function unpack(bytes: Buffer, maxBytes = 1 << 20, limits: Partial<UnpackOptions> = {}): Promise<string[]> {
  const file = join(folder, "x.zip");
  writeFileSync(file, bytes);
  return unpackArchive(file, target, {
    name: "x.zip",
    missing: "ADAPTER_NOT_FOUND",
    corrupt: "ADAPTER_CORRUPT",
    maxBytes,
    wanted: () => maxBytes,
    ...limits,
  });
}

describe("a zip archive", () => {
  it("is unpacked, compressed or stored, with its folders", async () => {
    const big = "llama ".repeat(100_000);
    const files = [
      { path: "a/", mode: 0o40755, isStored: true },
      { path: "a/one.txt", body: "one", isStored: true },
      { path: "two/b.txt", body: big },
      { path: "两/empty" },
    ];
    expect(await unpack(zipball(files))).toEqual(["a/one.txt", "two/b.txt", "两/empty"]);
    expect(readFileSync(join(target, "a/one.txt"), "utf8")).toBe("one");
    expect(readFileSync(join(target, "two/b.txt"), "utf8")).toBe(big);
    expect(readFileSync(join(target, "两/empty"), "utf8")).toBe("");
  });

  it("gives its wanted files alone, and names the others", async () => {
    const files = [
      { path: "big.bin", body: "x".repeat(5000) },
      { path: "a/wanted", body: "1" },
    ];
    const wanted = (path: string) => (path.endsWith("wanted") ? 10 : null);
    expect(await unpack(zipball(files), 1 << 20, { wanted })).toEqual(["big.bin", "a/wanted"]);
    expect(readdirSync(target, { recursive: true })).toEqual(["a", "a/wanted"]);
  });

  it.each<[string, ZipEntry]>([
    ["a path that climbs out", { path: "../outside.txt", body: "x" }],
    ["a path that climbs out later", { path: "a/../../outside.txt", body: "x" }],
    ["an absolute path", { path: "/outside.txt", body: "x" }],
    ["a drive letter", { path: "C:outside.txt", body: "x" }],
    ["a backslash", { path: "..\\outside.txt", body: "x" }],
    ["a symbolic link", { path: "link", body: "..", mode: 0o120777 }],
    ["a device", { path: "null", mode: 0o20666 }],
    ["a path of too many folders", { path: `${"d/".repeat(16)}f` }],
  ])("with %s is refused before anything is written", async (_, entry) => {
    const bytes = zipball([{ path: "first.txt", body: "1" }, entry]);
    await expect(unpack(bytes)).rejects.toMatchObject({ code: "ARCHIVE_UNSAFE" });
    expect(existsSync(join(folder, "outside.txt"))).toBe(false);
    expect(readdirSync(target)).toEqual([]);
  });

  it("with more bytes or entries than allowed, or far more than its own, is refused before anything is written", async () => {
    await expect(unpack(zipball([{ path: "a", body: "12345" }]), 4)).rejects.toThrow("more than 4 bytes");
    const many = zipball(Array.from({ length: 1001 }, (_, i) => ({ path: `${i}`, isStored: true })));
    await expect(unpack(many)).rejects.toThrow("more than 1000 entries");
    const zeros = zipball([{ path: "a", body: Buffer.alloc(65 << 20) }]);
    await expect(unpack(zeros, 1 << 30)).rejects.toMatchObject({
      code: "ARCHIVE_UNSAFE",
      message: expect.stringContaining(`100 times its own ${zeros.length}`),
    });
    expect(readdirSync(target)).toEqual([]);
  });

  it("that unpacks to more than its directory says is left at the first byte too many", async () => {
    const bomb = zipball([{ path: "a", body: Buffer.alloc(50 << 20), size: 1000 }]);
    await expect(unpack(bomb)).rejects.toMatchObject({
      code: "ADAPTER_CORRUPT",
      message: expect.stringContaining('"a" is not what the zip directory says'),
    });
    expect(readFileSync(join(target, "a")).length).toBeLessThanOrEqual(1000);
  });

  it.each<[string, Buffer, string]>([
    ["has a wrong sum", zipball([{ path: "a", body: "1", crc: 1 }]), "is not what the zip directory says"],
    ["says that a file is longer", zipball([{ path: "a", body: "1", size: 9 }]), "is not what the zip directory says"],
    ["is encrypted", zipball([{ path: "a", body: "1", flags: 1 }]), "is encrypted"],
    ["is packed by another method", zipball([{ path: "a", body: "1", method: 12 }]), "compressed by method 12"],
    ["holds a file twice", zipball([{ path: "a" }, { path: "a" }]), 'holds "a" twice'],
    ["ends early", zipball([{ path: "a", body: "1" }]).subarray(0, -5), "is truncated"],
  ])("that %s is refused as damaged", async (_, bytes, message) => {
    await expect(unpack(bytes)).rejects.toMatchObject({
      code: "ADAPTER_CORRUPT",
      message: expect.stringContaining(message),
    });
  });

  it("whose compressed bytes are damaged is refused as damaged", async () => {
    const bytes = zipball([{ path: "a", body: "llama ".repeat(1000) }]);
    bytes.fill(0xff, 33, 40);
    await expect(unpack(bytes)).rejects.toMatchObject({ code: "ADAPTER_CORRUPT" });
  });

  it("is left when the work is canceled", async () => {
    const controller = new AbortController();
    controller.abort(new Error("canceled"));
    const unpacking = unpack(zipball([{ path: "a", body: "1" }]), 1 << 20, { signal: controller.signal });
    await expect(unpacking).rejects.toThrow("canceled");
  });
});
