import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { isCodedError } from "../../src/errors/index.ts";
import { unpackArchive } from "../../src/llama/archive.ts";
import { bounded, expectLinear, soup, valueOrCode } from "../fuzzing.ts";
import { tarball } from "./tarball.ts";
import { zipball } from "./zipball.ts";

const parent = mkdtempSync(join(tmpdir(), "archive-"));
const [file, folder] = [join(parent, "archive"), join(parent, "inside")];
afterAll(() => rmSync(parent, { recursive: true }));
const maxBytes = 20_000;

const path = soup(["/", "..", "../", "a", "b/", ".", "./", "\\", "C:", "x".repeat(60), "adapter_config.json", "é"], 5);
const entry = fc.record(
  {
    path,
    body: fc.oneof(
      fc.string(),
      fc.nat(30_000).map((size) => "x".repeat(size)),
    ),
    type: fc.constantFrom("0", "0", "0", "1", "2", "3", "5", "6", "7", "x", "g", "L", "K", "\0"),
    link: path,
    size: fc.oneof(fc.nat(1000), fc.constant(8 ** 11 - 1)),
  },
  { requiredKeys: ["path"] },
);
/** Each takes some 512 bytes. */
const zipEntries = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ path: `f${i}`, body: "x".repeat(400), isStored: true }));
const options = {
  name: "archive",
  missing: "ADAPTER_NOT_FOUND",
  corrupt: "ADAPTER_CORRUPT",
  maxBytes,
  wanted: () => maxBytes,
} as const;
const unpack = () => valueOrCode(() => unpackArchive(file, folder, options), "ARCHIVE_UNSAFE", "ADAPTER_CORRUPT");

function begin(bytes: Uint8Array): void {
  writeFileSync(file, bytes);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
}

const zipEntry = fc.record(
  {
    path,
    body: entry.map(({ body = "" }) => body),
    mode: fc.constantFrom(0o100644, 0o100644, 0, 0o40755, 0o120777, 0o10644),
    isStored: fc.boolean(),
    size: fc.oneof(fc.nat(1000), fc.constant(2 ** 32 - 1)),
    crc: fc.nat(),
    method: fc.constantFrom(0, 8, 9, 12),
    flags: fc.constantFrom(0, 0, 1, 8, 0x800),
  },
  { requiredKeys: ["path"] },
);
const damage = fc.record({ at: fc.nat(), byte: fc.nat(255), cut: fc.option(fc.nat()), isGzip: fc.boolean() });
const packed = fc.oneof(
  fc.array(entry, { maxLength: 5 }).map(tarball),
  fc.array(zipEntry, { maxLength: 5 }).map(zipball),
);
const archive = fc.tuple(packed, fc.option(damage)).map(([bytes, harm]) => {
  if (harm === null) return bytes;
  const packed = harm.isGzip ? gzipSync(bytes) : bytes;
  packed[harm.at % packed.length] = harm.byte;
  return harm.cut === null ? packed : packed.subarray(0, harm.cut % packed.length);
});

describe("whatever an archive holds, unpacking it", () => {
  it("writes what it returns, within the limit and inside its folder, or ends in a coded error", async () => {
    const property = fc.asyncProperty(archive, async (bytes) => {
      begin(bytes);
      const files = await unpack();
      expect(readdirSync(parent).toSorted()).toEqual(["archive", "inside"]);
      expect(readFileSync(file).equals(bytes)).toBe(true);
      const written = readdirSync(folder, { recursive: true, encoding: "utf8" }).map(
        (name) => [name, statSync(join(folder, name))] as const,
      );
      const plain = written.filter(([, found]) => found.isFile());
      expect(plain.reduce((sum, [, { size }]) => sum + size, 0)).toBeLessThanOrEqual(maxBytes);
      if (!isCodedError(files))
        expect(plain.map(([name]) => name).toSorted()).toEqual(files.map((name) => name).toSorted());
    });
    await fc.assert(property, bounded);
  });

  it.each([
    ["members", (n: number) => tarball(Array.from({ length: n / 512 }, (_, i) => ({ path: `f${i}` })))],
    ["members of one path", (n: number) => tarball(Array.from({ length: n / 512 }, () => ({ path: "f" })))],
    ["one long name", (n: number) => tarball([{ path: "././@LongLink", type: "L", body: "a/".repeat(n / 2) }])],
    ["one large member", (n: number) => tarball([{ path: "f", body: Buffer.alloc(n) }])],
    ["members of a zip", (n: number) => zipball(zipEntries(n / 512))],
    ["one large member of a zip", (n: number) => zipball([{ path: "f", body: Buffer.alloc(n), isStored: true }])],
    ["zeros in a zip", (n: number) => zipball([{ path: "f", body: Buffer.alloc(n) }])],
    ["zeros", (n: number) => Buffer.alloc(n)],
    ["compressed zeros", (n: number) => gzipSync(Buffer.alloc(n))],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    await expectLinear(
      (size) => input(size),
      (bytes: Uint8Array) => {
        begin(bytes);
        return unpack();
      },
    );
  });
});
