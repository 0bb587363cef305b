import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { readDataset } from "../../../src/training/dataset/index.ts";
import { tarball } from "../../llama/tarball.ts";
import { zipball } from "../../llama/zipball.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "dataset-containers-"));
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => vi.unstubAllEnvs());

function file(content: string | Buffer, name: string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

const row = (n: number) => JSON.stringify({ instruction: `Say ${n}.`, output: `${n}` });
const outputs = async (path: string) =>
  (await readDataset(path)).rows.map((each) => ("output" in each ? each.output : null));
const notes = async (path: string) => (await readDataset(path)).summary.notes;

/** Two data files among what else lies in such folders. */
const parts = {
  "set/part-2.csv": "instruction,output\nSay 3.,3\n",
  "set/part-1.jsonl": `${row(1)}\n${row(2)}\n`,
  "set/README.md": "# Rows",
  LICENSE: "MIT",
  "dataset_infos.json": "{}",
  "set/._part-1.jsonl": "finder",
  "__MACOSX/set/part-1.jsonl": "finder",
  ".cache/part-0.jsonl": "not a row",
};
const entries = Object.entries(parts).map(([path, body]) => ({ path, body }));

describe("rows of several files", () => {
  const containers: [string, () => string][] = [
    ["tar", () => file(tarball(entries), "parts.tar")],
    ["tar.gz", () => file(gzipSync(tarball(entries)), "parts.tar.gz")],
    ["zip", () => file(zipball(entries), "parts.zip")],
    [
      "folder",
      () => {
        for (const { path, body } of entries) file(body, `parts/${path}`);
        symlinkSync("..", join(folder, "parts", "set", "up"));
        return join(folder, "parts");
      },
    ],
  ];

  it.each(containers)("are read in the order of their names, and what is left out is said: %s", async (kind, make) => {
    const path = make();
    expect(await outputs(path)).toEqual(["1", "2", "3"]);
    const name = kind === "folder" ? "parts" : `parts.${kind}`;
    expect(await notes(path)).toEqual([
      `${name}: 2 files are read in the order of their names: set/part-1.jsonl, set/part-2.csv; ` +
        "not named like data and left out: LICENSE, dataset_infos.json, set/README.md",
      `${name}/set/part-1.jsonl: 2 rows of Alpaca instructions`,
      `${name}/set/part-2.csv: 1 row of Alpaca instructions`,
    ]);
  });

  it("may be compressed each", async () => {
    const packed = [1, 2].map((n) => ({ path: `${n}.jsonl.gz`, body: gzipSync(row(n)) }));
    expect(await outputs(file(tarball(packed), "packed.tar"))).toEqual(["1", "2"]);
  });

  it("are refused with the problems of all files, each with its place", async () => {
    const bad = [
      { path: "a.json", body: `[${row(1)},{"instruction":"a"}]` },
      { path: "b.json", body: `[${row(1)}` },
      { path: "c.csv", body: "instruction,output\na,b,c\n" },
    ];
    await expect(readDataset(file(tarball(bad), "bad.tar"))).rejects.toMatchObject({
      code: "DATASET_ROW_FIELD",
      message: [
        "bad.tar has 3 problems:",
        '- bad.tar/a.json, record 2: field "output" is missing',
        "- bad.tar/b.json: the file ends inside the array, after record 1",
        "- bad.tar/c.csv, record 1 (line 2): has 3 cells where the first line names 2 columns",
      ].join("\n"),
    });
  });

  it("are looked for in vain where no file is named like data, and the names are told", async () => {
    const others = ["a.txt", "b.md"].map((path) => ({ path, body: row(1) }));
    await expect(readDataset(file(tarball(others), "other.tar"))).rejects.toMatchObject({
      code: "DATASET_FORMAT",
      message: "other.tar: the archive holds no file that is named like data: a.txt, b.md",
    });
    await expect(readDataset(file(tarball([{ path: "x/", type: "5" }]), "none.tar"))).rejects.toThrow("holds no file");
    const workbook = ["[Content_Types].xml", "xl/workbook.xml"].map((path) => ({ path, body: "<x/>" }));
    await expect(readDataset(file(zipball(workbook), "table.xlsx"))).rejects.toThrow(
      "table.xlsx: is an Excel workbook",
    );
  });
});

describe("a compressed file", () => {
  const text = `[${row(1)},${row(2)}]`;

  it("is unpacked by what its bytes say, whatever its name", async () => {
    expect(await outputs(file(gzipSync(text), "rows.json"))).toEqual(["1", "2"]);
  });

  it("is refused where it is cut or damaged", async () => {
    const packed = gzipSync(text);
    const damaged = { code: "DATASET_FORMAT", message: expect.stringContaining("cut.json.gz: is damaged") };
    await expect(readDataset(file(packed.subarray(0, -9), "cut.json.gz"))).rejects.toMatchObject(damaged);
  });

  it("is refused by the bytes that it unpacks to, among all files, naming the variable", async () => {
    vi.stubEnv("LLAMA_DATASET_BYTES", `${Buffer.byteLength(text)}`);
    expect(await outputs(file(gzipSync(text), "fits.gz"))).toEqual(["1", "2"]);
    const two = tarball([1, 2].map((n) => ({ path: `${n}.json.gz`, body: gzipSync(text) })));
    const limit = { code: "ARCHIVE_UNSAFE", message: expect.stringContaining("LLAMA_DATASET_BYTES") };
    await expect(readDataset(file(two, "two.tar"))).rejects.toMatchObject(limit);
    await expect(readDataset(file(gzipSync(`${text} `), "larger.gz"))).rejects.toMatchObject(limit);
  });

  it("is refused by what it unpacks to for its size", async () => {
    const bomb = gzipSync(Buffer.alloc(80 * 2 ** 20, " "));
    await expect(readDataset(file(bomb, "bomb.gz"))).rejects.toMatchObject({
      code: "ARCHIVE_UNSAFE",
      message: "bomb.gz: unpacks to more than 100 times its own bytes",
    });
  });
});

describe("a file of another kind", () => {
  it.each([
    ["PAR1....", "is a Parquet file"],
    ["<!DOCTYPE html><html>", "is a web page"],
    ["version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"],
    [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0]), "is compressed by zstd"],
    [Buffer.from("\0\0\x01\x02binary\0\0\x01"), "holds NUL bytes: it is no text"],
  ])("is named, with what to do: %s", async (content, what) => {
    await expect(readDataset(file(content, "x"))).rejects.toMatchObject({
      code: "DATASET_FORMAT",
      message: expect.stringContaining(`x: ${what}`),
    });
  });
});
