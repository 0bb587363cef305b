import type { ByteBudget } from "./byte-budget.ts";
import type { DataFile } from "./container.ts";
import { asUtf8, encodingRemedy, InvalidText } from "./encoding.ts";
import { bytesOf } from "./file-bytes.ts";
import { refuseForeign } from "./foreign.ts";
import { formatBytes, formatOf } from "./format.ts";
import { linesIn, newline, openBrace, openBracket, skipSpace } from "./json-bytes.ts";
import { JsonReader } from "./json-reader.ts";
import { Unreadable } from "./problems.ts";
import type { RowSource } from "./row.ts";
import { TableReader } from "./table.ts";

/** A record of a file, parsed, or what is wrong with it. */
export type FoundRecord = { readonly source: RowSource } & (
  | { readonly value: unknown }
  | { readonly wrong: string; readonly remedy?: string }
);

/** Reads the records of one format, chunk by chunk. */
export interface RecordReader {
  /** Said of the file, once it is read. */
  readonly notes: readonly string[];
  /** @param bytes of UTF-8, ending between two characters @throws Unreadable where the rest cannot be read */
  push(bytes: Buffer): Generator<FoundRecord>;
  end(): Generator<FoundRecord>;
  /** The record that is read. */
  here(): RowSource;
}

export interface RecordsOptions {
  readonly budget: ByteBudget;
  readonly signal: AbortSignal | undefined;
  /** Whether an object with this key is a row, not what holds rows. */
  readonly isRowKey: (key: string) => boolean;
  /** Looks at the columns of a table. @throws Unreadable where they make no row */
  readonly checkHeader: (names: readonly string[]) => void;
}

/** Places named of a file that is not in UTF-8. */
const mostInvalid = 3;

/**
 * The records of a file, in parts that are to be iterated before the next one is asked for.
 * @param say hears what is to be known of the file
 * @throws Unreadable where the rest of the file cannot be read; DATASET_NOT_FOUND, ARCHIVE_UNSAFE, the signal's reason
 */
export async function* recordsOf(
  file: DataFile,
  options: RecordsOptions,
  say: (note: string) => void,
): AsyncGenerator<Iterable<FoundRecord>> {
  let reader: RecordReader | null = null;
  const head = new Head(file.name, options);
  let invalid = 0;
  const take = function* (item: Buffer | InvalidText, into: RecordReader): Generator<FoundRecord> {
    if (invalid === mostInvalid) return;
    if (!(item instanceof InvalidText)) return yield* into.push(item);
    const isLast = ++invalid === mostInvalid;
    const what = `is not valid UTF-8 at byte ${item.offset} (0x${item.bytes[0]!.toString(16)})`;
    const wrong = isLast ? `${what}; the file is not read further` : what;
    yield { source: into.here(), wrong, remedy: encodingRemedy(item.bytes) };
  };
  try {
    for await (const item of asUtf8(checked(bytesOf(file, options.budget, options.signal)))) {
      if (invalid === mostInvalid) return;
      if (reader !== null) yield take(item, reader);
      else if (head.add(item)) {
        reader = head.reader();
        for (const held of head.items()) yield take(held, reader!);
      }
    }
    if (reader === null) {
      reader = head.reader();
      if (reader === null) return;
      for (const held of head.items()) yield take(held, reader);
    }
    if (invalid < mostInvalid) yield reader.end();
  } finally {
    for (const note of reader?.notes ?? []) say(note);
  }
}

async function* checked(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let isFirst = true;
  for await (const chunk of chunks) {
    if (isFirst) refuseForeign(chunk);
    isFirst = false;
    yield chunk;
  }
}

/** The beginning of a file, held until its format can be told. */
class Head {
  readonly #file: string;
  readonly #options: RecordsOptions;
  readonly #items: (Buffer | InvalidText)[] = [];
  #bytes = 0;
  /** Blank lines that were left out before. */
  #lines = 0;
  #skip = 0;

  constructor(file: string, options: RecordsOptions) {
    this.#file = file;
    this.#options = options;
  }

  /** Whether the format can be told. */
  add(item: Buffer | InvalidText): boolean {
    let bytes = item;
    if (bytes instanceof Buffer) {
      if (this.#bytes === 0) bytes = this.#withoutBlankLines(bytes);
      this.#bytes += bytes.length;
      // The chunk's memory belongs to the stream's pool.
      bytes = Buffer.from(bytes);
    }
    this.#items.push(bytes);
    return this.#bytes >= formatBytes;
  }

  /** Null for a file without text. */
  reader(): RecordReader | null {
    const head = Buffer.concat(this.#items.filter((item): item is Buffer => item instanceof Buffer)).subarray(
      0,
      formatBytes,
    );
    const format = formatOf(head, this.#options.isRowKey);
    if (format === null) return null;
    if (format.kind === "table") {
      if (head.includes(0)) throw new Unreadable("holds NUL bytes: it is no text");
      return new TableReader(this.#file, head.toString("utf8"), this.#lines, this.#options.checkHeader);
    }
    this.#skip = format.kind === "array" ? format.start + 1 : format.start;
    return new JsonReader(this.#file, format, this.#lines + linesIn(head.subarray(0, this.#skip)));
  }

  /** What is held, from where the records begin. */
  *items(): Generator<Buffer | InvalidText> {
    for (const item of this.#items) {
      if (item instanceof InvalidText || this.#skip === 0) yield item;
      else {
        const from = Math.min(this.#skip, item.length);
        this.#skip -= from;
        yield item.subarray(from);
      }
    }
    this.#items.length = 0;
  }

  #withoutBlankLines(bytes: Buffer): Buffer {
    let at = skipSpace(bytes, 0);
    // A table's first column may have no name.
    const isJson = bytes[at] === openBracket || bytes[at] === openBrace;
    if (!isJson && at < bytes.length) at = bytes.lastIndexOf(newline, at) + 1;
    this.#lines += linesIn(bytes.subarray(0, at));
    return bytes.subarray(at);
  }
}
