import type { Format } from "./format.ts";
import {
  backslash,
  closeBrace,
  closeBracket,
  comma,
  isSpace,
  newline,
  openBrace,
  openBracket,
  quote,
  shownByte,
} from "./json-bytes.ts";
import { quoted, Unreadable } from "./problems.ts";
import { Pending, type RawRecord, type RecordSplitter } from "./records.ts";
import type { RowSource } from "./row.ts";

type Expected = "element-or-end" | "element" | "comma-or-end" | "object" | "rest" | "nothing";

const wanted: Readonly<Record<Expected, string>> = {
  "element-or-end": "an object or ]",
  element: "an object",
  "comma-or-end": ", or ]",
  object: "an object",
  rest: "the end of the object around the list",
  nothing: "the end of the file",
};

/** Elements of a JSON array, alone or within an object, and objects that follow one another on any lines. */
export class ValueSplitter implements RecordSplitter {
  readonly #file: string;
  readonly #pending = new Pending(() => this.here());
  readonly #key: string | null;
  #number = 0;
  #line: number;
  /** Where the record that is read began. */
  #firstLine: number;
  /** Open brackets of the record, and whether the scan is inside a string or past its backslash. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** What may come next between records. */
  #expect: Expected;
  /** Behind the list of an object: open brackets, from the object's own one on, and the byte before. */
  #restDepth = 1;
  #last = 0;

  /** @param file its name in messages @param linesBefore that were skipped */
  constructor(file: string, format: Exclude<Format, { kind: "table" }>, linesBefore = 0) {
    this.#file = file;
    this.#key = format.kind === "array" ? format.key : null;
    this.#expect = format.kind === "array" ? "element-or-end" : "object";
    this.#line = linesBefore + 1;
    this.#firstLine = this.#line;
  }

  *push(chunk: Buffer): Generator<RawRecord> {
    let start = this.#depth > 0 ? 0 : -1;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (byte === newline) this.#line++;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === backslash) this.#escaped = true;
        else if (byte === quote) this.#inString = false;
      } else if (this.#depth > 0) {
        if (byte === quote) this.#inString = true;
        else if (byte === openBrace || byte === openBracket) this.#depth++;
        else if ((byte === closeBrace || byte === closeBracket) && --this.#depth === 0) {
          if (this.#expect !== "object") this.#expect = "comma-or-end";
          yield { json: this.#pending.take(chunk.subarray(start, i + 1)), source: this.here() };
          start = -1;
        }
      } else if (this.#expect === "rest") this.#behindList(byte);
      else if (byte === openBrace || byte === openBracket) {
        if (this.#expect === "comma-or-end" || this.#expect === "nothing") throw this.#unexpected(byte);
        this.#number++;
        this.#firstLine = this.#line;
        this.#depth = 1;
        start = i;
      } else if (!isSpace(byte)) this.#between(byte);
    }
    if (start >= 0) this.#pending.keep(chunk.subarray(start));
  }

  // biome-ignore lint/correctness/useYield: all records are complete before the end.
  *end(): Generator<RawRecord> {
    if (this.#depth > 0) {
      throw new Unreadable(
        "the file ends inside it: a bracket or quotation mark is not closed",
        undefined,
        this.here(),
      );
    }
    if (this.#expect === "rest") throw new Unreadable("the file ends inside the object around the list");
    if (this.#expect === "nothing" || this.#expect === "object") return;
    throw new Unreadable(`the file ends inside the array, after record ${this.#number}`);
  }

  here(): RowSource {
    const line = this.#depth > 0 || this.#number > 0 ? this.#firstLine : this.#line;
    return { file: this.#file, number: Math.max(1, this.#number), unit: "record", line };
  }

  /** A byte between the records. */
  #between(byte: number): void {
    if (this.#expect === "object" && byte === comma && this.#number > 0) return;
    if (byte === comma && this.#expect === "comma-or-end") this.#expect = "element";
    else if (byte === closeBracket && (this.#expect === "comma-or-end" || this.#expect === "element-or-end")) {
      this.#expect = this.#key === null ? "nothing" : "rest";
    } else throw this.#unexpected(byte);
  }

  /** A byte of the object's other members, which are not read; another list of rows is refused. */
  #behindList(byte: number): void {
    if (isSpace(byte)) return;
    if (byte === quote) this.#inString = true;
    else if (byte === openBrace || byte === openBracket) {
      if (byte === openBrace && this.#last === openBracket && this.#restDepth === 2) {
        throw new Unreadable(
          `in line ${this.#line} a second list of rows begins, behind the one named ${quoted(this.#key ?? "")}`,
          "Put the rows to train on into a file of their own.",
        );
      }
      this.#restDepth++;
    } else if ((byte === closeBrace || byte === closeBracket) && --this.#restDepth === 0) this.#expect = "nothing";
    this.#last = byte;
  }

  #unexpected(byte: number): Unreadable {
    const place = this.#number === 0 ? "" : `after record ${this.#number} `;
    const line = this.#line > 1 ? ` (line ${this.#line})` : "";
    return new Unreadable(
      `${place}comes ${shownByte(byte)}${line} where ${wanted[this.#expect]} is expected`,
      "A data set is a JSON array of rows, JSONL with a row on every line, or a CSV table.",
    );
  }
}
