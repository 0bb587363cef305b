import { comma, isSpace, newline } from "./json-bytes.ts";
import { Unreadable } from "./problems.ts";
import type { RowSource } from "./row.ts";

/** A record as it lies in the file: its bytes are not parsed yet. */
export interface RawRecord {
  readonly json: Buffer;
  readonly source: RowSource;
}

/** Splits a file's bytes into records, chunk by chunk, so that neither the whole file nor the event loop is held. */
export interface RecordSplitter {
  /** @throws Unreadable where the rest cannot be read */
  push(chunk: Buffer): Generator<RawRecord>;
  /** The file has ended. @throws Unreadable where something is open */
  end(): Generator<RawRecord>;
  /** The record that is being read. */
  here(): RowSource;
}

/** No instruction is this long; a file that is not a data set is noticed before it fills the memory. */
const maxRecordBytes = 16 * 1024 * 1024;

/** The bytes of one record, which may lie in several chunks. */
export class Pending {
  readonly #here: () => RowSource;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(here: () => RowSource) {
    this.#here = here;
  }

  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  keep(bytes: Buffer): void {
    this.#bytes += bytes.length;
    if (this.#bytes > maxRecordBytes) {
      throw new Unreadable(`is longer than ${maxRecordBytes} bytes`, undefined, this.#here());
    }
    // The chunk's memory belongs to the stream's pool.
    this.#parts.push(Buffer.from(bytes));
  }

  take(last: Buffer): Buffer {
    const whole = this.#parts.length > 0 ? Buffer.concat([...this.#parts, last]) : last;
    this.#parts = [];
    this.#bytes = 0;
    return whole;
  }
}

/** JSONL: a row on each line; lines may end in a comma. */
export class LineSplitter implements RecordSplitter {
  readonly #file: string;
  readonly #pending = new Pending(() => this.here());
  #line = 1;

  /** @param file its name in messages @param linesBefore that were skipped */
  constructor(file: string, linesBefore = 0) {
    this.#file = file;
    this.#line += linesBefore;
  }

  *push(chunk: Buffer): Generator<RawRecord> {
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      yield* this.#take(chunk.subarray(start, end));
      start = end + 1;
    }
    if (start < chunk.length) this.#pending.keep(chunk.subarray(start));
  }

  *end(): Generator<RawRecord> {
    if (!this.#pending.isEmpty) yield* this.#take(Buffer.alloc(0));
  }

  here(): RowSource {
    return { file: this.#file, number: this.#line, unit: "line", line: this.#line };
  }

  *#take(last: Buffer): Generator<RawRecord> {
    const line = this.#pending.take(last);
    let length = trimmedLength(line, line.length);
    if (line[length - 1] === comma) length = trimmedLength(line, length - 1);
    const source = this.here();
    this.#line++;
    if (length > 0) yield { json: line.subarray(0, length), source };
  }
}

function trimmedLength(bytes: Buffer, from: number): number {
  let length = from;
  while (length > 0 && isSpace(bytes[length - 1]!)) length--;
  return length;
}
