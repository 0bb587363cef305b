import { CodedError } from "../../errors/index.ts";
import { describeSource, type RowSource } from "./row.ts";

/** A record as it lies in the file: its bytes are not parsed yet. */
export interface RawRecord {
  readonly json: Buffer;
  readonly source: RowSource;
}

/** No instruction is this long; a file that is not a data set is noticed before it fills the memory. */
const maxRecordBytes = 16 * 1024 * 1024;

const [tab, newline, carriageReturn, space] = [0x09, 0x0a, 0x0d, 0x20];
const [quote, comma, backslash] = [0x22, 0x2c, 0x5c];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];

function isSpace(byte: number): boolean {
  return byte === space || byte === newline || byte === carriageReturn || byte === tab;
}

/**
 * Splits a JSON array or JSONL (told apart by the first byte that is not white space) into records, chunk by chunk, so
 * that neither the whole file nor the event loop is held. A byte order mark and CRLF are accepted.
 */
export class RecordSplitter {
  readonly #file: string;
  #format: "array" | "lines" | null = null;
  #bytesBefore = 0;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #number = 0;
  /** Array: open brackets below the outer one, and whether the scan is inside a string or past its backslash. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** Array: what may come next between elements. */
  #expect: "element-or-end" | "element" | "comma-or-end" | "nothing" = "element-or-end";
  #line = 0;

  /** @param file its name in messages. */
  constructor(file: string) {
    this.#file = file;
  }

  *push(chunk: Buffer): Generator<RawRecord> {
    let rest = chunk;
    if (this.#format === null) {
      rest = this.#start(chunk);
      if (this.#format === null) return;
    }
    yield* this.#format === "array" ? this.#scanArray(rest) : this.#scanLines(rest);
  }

  *end(): Generator<RawRecord> {
    if (this.#format === "lines" && this.#pendingBytes > 0) yield* this.#takeLine(Buffer.alloc(0));
    if (this.#format === "array" && this.#expect !== "nothing") {
      throw this.#malformed(`the file ends inside the array, after record ${this.#number}`);
    }
  }

  /** Skips a byte order mark and white space, and decides the format. */
  #start(chunk: Buffer): Buffer {
    let i = 0;
    for (; i < chunk.length; i++, this.#bytesBefore++) {
      const byte = chunk[i]!;
      if (this.#bytesBefore < 3 && byte === [0xef, 0xbb, 0xbf][this.#bytesBefore]) continue;
      if (byte === newline) this.#line++;
      if (!isSpace(byte)) break;
    }
    if (i === chunk.length) return Buffer.alloc(0);
    if (chunk[i] === openBracket) {
      this.#format = "array";
      return chunk.subarray(i + 1);
    }
    if (chunk[i] !== openBrace) throw this.#malformed("it starts neither with [ nor with {");
    this.#format = "lines";
    return chunk.subarray(i);
  }

  *#scanArray(chunk: Buffer): Generator<RawRecord> {
    let start = this.#depth > 0 || this.#inString ? 0 : -1;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === backslash) this.#escaped = true;
        else if (byte === quote) this.#inString = false;
      } else if (this.#depth > 0) {
        if (byte === quote) this.#inString = true;
        else if (byte === openBrace || byte === openBracket) this.#depth++;
        else if ((byte === closeBrace || byte === closeBracket) && --this.#depth === 0) {
          this.#expect = "comma-or-end";
          yield this.#take(chunk.subarray(start, i + 1));
          start = -1;
        }
      } else if (byte === openBrace || byte === openBracket) {
        if (this.#expect !== "element" && this.#expect !== "element-or-end") throw this.#unexpected(byte);
        this.#number++;
        this.#depth = 1;
        start = i;
      } else if (!isSpace(byte)) this.#between(byte);
    }
    if (start >= 0) this.#keep(chunk.subarray(start));
  }

  /** A byte between the elements of the array. */
  #between(byte: number): void {
    if (byte === comma && this.#expect === "comma-or-end") this.#expect = "element";
    else if (byte === closeBracket && (this.#expect === "comma-or-end" || this.#expect === "element-or-end")) {
      this.#expect = "nothing";
    } else throw this.#unexpected(byte);
  }

  #unexpected(byte: number): CodedError {
    const shown =
      byte >= 0x20 && byte < 0x7f ? JSON.stringify(String.fromCharCode(byte)) : `byte 0x${byte.toString(16)}`;
    const wanted = {
      "element-or-end": "an object or ]",
      element: "an object",
      "comma-or-end": ", or ]",
      nothing: "the end of the file",
    }[this.#expect];
    return this.#malformed(`after record ${this.#number} comes ${shown} where ${wanted} is expected`);
  }

  *#scanLines(chunk: Buffer): Generator<RawRecord> {
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      yield* this.#takeLine(chunk.subarray(start, end));
      start = end + 1;
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start));
  }

  *#takeLine(bytes: Buffer): Generator<RawRecord> {
    this.#number = ++this.#line;
    const record = this.#take(bytes);
    if (!record.json.every(isSpace)) yield record;
  }

  #keep(bytes: Buffer): void {
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes > maxRecordBytes) {
      throw this.#malformed(`${describeSource(this.#source())}: longer than ${maxRecordBytes} bytes`);
    }
    // The chunk's memory belongs to the stream's pool.
    this.#pending.push(Buffer.from(bytes));
  }

  #take(last: Buffer): RawRecord {
    const json = this.#pending.length > 0 ? Buffer.concat([...this.#pending, last]) : last;
    this.#pending = [];
    this.#pendingBytes = 0;
    return { json, source: this.#source() };
  }

  #source(): RowSource {
    return { file: this.#file, number: this.#number, unit: this.#format === "lines" ? "line" : "record" };
  }

  #malformed(what: string): CodedError {
    const message = what.startsWith(this.#file) ? what : `${this.#file}: ${what}`;
    return new CodedError("DATASET_FORMAT", message, {
      hint: "A data set is a JSON array of rows, or JSONL with a row on every line.",
    });
  }
}
