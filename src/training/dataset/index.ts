import { rm } from "node:fs/promises";
import { basename, join, posix } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { archiveKind, unpackArchive } from "../../llama/archive.ts";
import { openRegularFile } from "../../llama/regular-file.ts";
import { sliced } from "../../llama/time-slices.ts";
import { temporaryFolder } from "../../temporary/folders.ts";
import { type RawRecord, RecordSplitter } from "./records.ts";
import { checkRow, describeSource, type Row } from "./row.ts";

export { describeSource, type Row, type RowSource } from "./row.ts";

export interface DatasetOptions {
  /** The file's name in messages; its own by default. */
  readonly name?: string;
  readonly signal?: AbortSignal;
}

const maxArchiveBytes = 4 * 1024 ** 3;
const missing = "DATASET_NOT_FOUND";

/**
 * Reads an Alpaca data set: a JSON array or JSONL, alone or the only one inside a .tar or .tar.gz. What a file is, its
 * bytes say, not its name. Rows come in file order, each with its source.
 * @throws DATASET_NOT_FOUND, DATASET_FORMAT, DATASET_EMPTY, DATASET_ROW_FIELD, ARCHIVE_UNSAFE
 */
export async function readDataset(file: string, options: DatasetOptions = {}): Promise<Row[]> {
  const name = options.name ?? basename(file);
  const kind = await archiveKind(file, { missing, name });
  if (kind === "zip") {
    throw new CodedError("DATASET_FORMAT", `${name}: is a zip archive`, { hint: "Pack it with tar -czf instead." });
  }
  const rows = kind === null ? await readRows(file, name, options) : await readArchive(file, name, options);
  if (rows.length === 0) throw new CodedError("DATASET_EMPTY", `${name}: holds no rows`);
  return rows;
}

async function readArchive(file: string, name: string, options: DatasetOptions): Promise<Row[]> {
  const folder = await temporaryFolder("dataset");
  try {
    const unpacked = await unpackArchive(file, folder, {
      name,
      missing,
      corrupt: "DATASET_FORMAT",
      maxBytes: maxArchiveBytes,
      signal: options.signal,
    });
    const inside = onlyDataset(unpacked, name);
    return await readRows(join(folder, inside), `${name}/${inside}`, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The one file that is named like a data set, or the one file there is. */
function onlyDataset(paths: readonly string[], archive: string): string {
  // macOS puts a hidden companion beside every file.
  const visible = paths.filter((path) => !posix.basename(path).startsWith("."));
  const named = visible.filter((path) => /\.jsonl?$/i.test(path));
  const candidates = named.length > 0 ? named : visible;
  if (candidates.length === 1) return candidates[0]!;
  const what = candidates.length === 0 ? "no data set" : `more than one: ${candidates.slice(0, 5).join(", ")}`;
  throw new CodedError("DATASET_FORMAT", `${archive}: the archive holds ${what}`, {
    hint: "Put exactly one .json or .jsonl file into it.",
  });
}

async function readRows(file: string, name: string, options: DatasetOptions): Promise<Row[]> {
  const splitter = new RecordSplitter(name);
  const pause = sliced(options.signal);
  const rows: Row[] = [];
  const take = async (records: Iterable<RawRecord>) => {
    for (const record of records) {
      rows.push(checkRow(parse(record), record.source));
      await pause();
    }
  };
  const handle = await openRegularFile(file, { missing, name });
  const stream = handle.createReadStream({ highWaterMark: 256 * 1024, signal: options.signal });
  for await (const chunk of stream) await take(splitter.push(chunk));
  await take(splitter.end());
  return rows;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function parse({ json, source }: RawRecord): unknown {
  try {
    return JSON.parse(utf8.decode(json));
  } catch (error) {
    const what = error instanceof SyntaxError ? `is not valid JSON: ${error.message}` : "is not valid UTF-8";
    throw new CodedError("DATASET_FORMAT", `${describeSource(source)}: ${what}`, { cause: error });
  }
}
