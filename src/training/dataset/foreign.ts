import { Unreadable } from "./problems.ts";

/** Formats that data come in elsewhere: how their files begin, and what to do with one. */
const foreign: readonly (readonly [start: string, what: string, remedy: string])[] = [
  [
    "PAR1",
    "a Parquet file",
    'Convert it: python -c \'import pandas; pandas.read_parquet("OLD").to_json("NEW.jsonl", orient="records", lines=True)\'.',
  ],
  ["ARROW1", "an Arrow file", "Convert it to JSONL: datasets.load_from_disk(...).to_json(...)."],
  ["SQLite format 3\0", "an SQLite database", "Export its table as CSV with a header: sqlite3 -header -csv."],
  ["\x28\xb5\x2f\xfd", "compressed by zstd", "Unpack it with zstd -d, or compress it with gzip instead."],
  ["\xfd7zXZ\0", "compressed by xz", "Unpack it with xz -d, or compress it with gzip instead."],
  ["BZh", "compressed by bzip2", "Unpack it with bunzip2, or compress it with gzip instead."],
  ["7z\xbc\xaf\x27\x1c", "a 7z archive", "Pack it as .zip or .tar.gz instead."],
  ["Rar!\x1a\x07", "a RAR archive", "Pack it as .zip or .tar.gz instead."],
  ["PK\x03\x04", "an archive inside another one", "Unpack it, and pack the files of rows alone."],
  ["%PDF-", "a PDF document", "Give its text as rows."],
  ["\xd0\xcf\x11\xe0", "an old Excel or Word file", "Save the table as CSV in UTF-8."],
  ["\x80\x04", "a Python pickle", "Write its rows as JSONL."],
  ["version https://git-lfs", "a Git LFS pointer, not the data", "Fetch the file itself: git lfs pull."],
  ["<!DOCTYPE", "a web page", "Download the file itself: the address leads to a page about it."],
  ["<!doctype", "a web page", "Download the file itself: the address leads to a page about it."],
  ["<html", "a web page", "Download the file itself: the address leads to a page about it."],
];

/** @throws Unreadable naming what the file is, where its first bytes are those of another format */
export function refuseForeign(start: Buffer): void {
  const text = start.toString("latin1", 0, 32);
  const found = foreign.find(([mark]) => text.startsWith(mark));
  if (found !== undefined) throw new Unreadable(`is ${found[1]}`, found[2]);
}
