import { rm, stat } from "node:fs/promises";
import { basename, join, posix } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { archiveKind, type UnpackOptions, unpackArchive } from "../../llama/archive.ts";
import { parseBoundedJson } from "../../llama/bounded-json.ts";
import { byteLimit } from "../../llama/byte-limit.ts";
import { openRegularFile } from "../../llama/regular-file.ts";
import { sliced } from "../../llama/time-slices.ts";
import { temporaryFolder } from "../../temporary/folders.ts";
import { type RawRecord, RecordSplitter } from "./records.ts";
import { checkRow, describeSource, type InstructionRow } from "./row.ts";

export {
  type ConversationRow,
  describeSource,
  type InstructionRow,
  type Row,
  type RowSource,
  type TextRow,
} from "./row.ts";

export interface DatasetOptions {
  /** The file's name in messages; its own by default. */
  readonly name?: string;
  readonly signal?: AbortSignal;
}

/** Of a data set, unpacked: rows lie in memory as long as they are trained on. */
const bytesVariable = "LLAMA_DATASET_BYTES";
const usualBytes = 2 ** 30;
/** Of one row, in columns that are not read. */
const mostRowValues = 10_000;
const missing = "DATASET_NOT_FOUND";

/**
 * Reads an Alpaca data set: a JSON array or JSONL, alone or the only one inside a .tar or .tar.gz. What a file is, its
 * bytes say, not its name. Rows come in file order, each with its source.
 * @throws DATASET_NOT_FOUND, DATASET_FORMAT (more than LLAMA_DATASET_BYTES, 1 GiB by default, among it), DATASET_EMPTY, DATASET_ROW_FIELD, ARCHIVE_UNSAFE
 */
export async function readDataset(file: string, options: DatasetOptions = {}): Promise<InstructionRow[]> {
  const name = options.name ?? basename(file);
  const kind = await archiveKind(file, { missing, name });
  if (kind === "zip") {
    throw new CodedError("DATASET_FORMAT", `${name}: is a zip archive`, { hint: "Pack it with tar -czf instead." });
  }
  const maxBytes = byteLimit(bytesVariable, process.env) ?? usualBytes;
  const { size } = await stat(file);
  if (kind === null && size > maxBytes) {
    throw new CodedError("DATASET_FORMAT", `${name}: has ${size} bytes, at most ${maxBytes} are read`, {
      hint: `Give fewer rows, or set ${bytesVariable} to more bytes.`,
    });
  }
  const rows = kind === null ? await readRows(file, name, options) : await readArchive(file, name, maxBytes, options);
  if (rows.length === 0) throw new CodedError("DATASET_EMPTY", `${name}: holds no rows`);
  return rows;
}

async function readArchive(
  file: string,
  name: string,
  maxBytes: number,
  options: DatasetOptions,
): Promise<InstructionRow[]> {
  const folder = await temporaryFolder("dataset");
  try {
    const paths = await unpackArchive(file, folder, {
      name,
      missing,
      corrupt: "DATASET_FORMAT",
      maxBytes,
      variable: bytesVariable,
      wanted: firstOfKinds(maxBytes),
      signal: options.signal,
    });
    const inside = onlyDataset(paths, name);
    return await readRows(join(folder, inside), `${name}/${inside}`, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const isNamed = (path: string) => /\.jsonl?$/i.test(path);
/** macOS puts a hidden companion beside every file. */
const isVisible = (path: string) => !posix.basename(path).startsWith(".");

/** What onlyDataset can choose is the first file that is named like a data set, or the first of the others. */
function firstOfKinds(maxBytes: number): UnpackOptions["wanted"] {
  const seen = new Set<boolean>();
  return (path) => {
    if (!isVisible(path) || seen.has(isNamed(path))) return null;
    seen.add(isNamed(path));
    return maxBytes;
  };
}

/** The one file that is named like a data set, or the one file there is. */
function onlyDataset(paths: readonly string[], archive: string): string {
  const visible = paths.filter(isVisible);
  const named = visible.filter(isNamed);
  const candidates = named.length > 0 ? named : visible;
  if (candidates.length === 1) return candidates[0]!;
  const what = candidates.length === 0 ? "no data set" : `more than one: ${candidates.slice(0, 5).join(", ")}`;
  throw new CodedError("DATASET_FORMAT", `${archive}: the archive holds ${what}`, {
    hint: "Put exactly one .json or .jsonl file into it.",
  });
}

async function readRows(file: string, name: string, options: DatasetOptions): Promise<InstructionRow[]> {
  const splitter = new RecordSplitter(name);
  const pause = sliced(options.signal);
  const rows: InstructionRow[] = [];
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
    return parseBoundedJson(utf8.decode(json), mostRowValues);
  } catch (error) {
    const what = error instanceof SyntaxError ? `is not valid JSON: ${error.message}` : "is not valid UTF-8";
    throw new CodedError("DATASET_FORMAT", `${describeSource(source)}: ${what}`, { cause: error });
  }
}
