import Papa from "papaparse";
import type { Fields } from "./columns.ts";
import type { FoundRecord, RecordReader } from "./file-records.ts";
import { quoted, Unreadable } from "./problems.ts";
import type { RowSource } from "./row.ts";

/** Characters of one row: a quotation mark that is not closed would take the rest of the file. */
const mostRowCharacters = 4 * 1024 * 1024;
const delimiters = [",", "\t", ";"];

const quotes =
  'Put cells that hold commas, quotation marks or line breaks into "…", and write a quotation mark inside as "".';

/**
 * Rows of CSV or TSV (RFC 4180; semicolons too), chunk by chunk: the first line names the columns. Lines without any text
 * are no rows; those of commas alone are counted.
 */
export class TableReader implements RecordReader {
  readonly #file: string;
  readonly #parser: Papa.Parser;
  /** Text that ends inside a row, and the length from which it is tried again: each try costs its length. */
  #rest = "";
  #enough = 0;
  #header: string[] | null = null;
  #number = 0;
  /** Of the next row. */
  #line: number;
  /** Rows of commas alone, as spreadsheets leave them. */
  #empty = 0;
  readonly #checkHeader: (names: readonly string[]) => void;

  /**
   * @param head the file's first characters, which hold its first line
   * @param linesBefore that were skipped
   */
  constructor(file: string, head: string, linesBefore: number, checkHeader: (names: readonly string[]) => void) {
    this.#file = file;
    this.#line = linesBefore + 1;
    this.#checkHeader = checkHeader;
    const newline = head.includes("\n") || !head.includes("\r") ? "\n" : "\r";
    const first = head.split(newline, 1)[0]!;
    const counts = delimiters.map((delimiter) => Papa.parse<string[]>(first, { delimiter }).data[0]?.length ?? 0);
    const delimiter = delimiters[counts.indexOf(Math.max(...counts))]!;
    this.#parser = new Papa.Parser({ delimiter, newline, quoteChar: '"' });
  }

  get notes(): readonly string[] {
    if (this.#empty === 0) return [];
    return [`${this.#file}: ${this.#empty} ${this.#empty === 1 ? "row" : "rows"} without any text left out`];
  }

  *push(bytes: Buffer): Generator<FoundRecord> {
    yield* this.#parse(bytes.toString("utf8"), false);
  }

  /** @throws Unreadable for a row that is too long, and for columns that make no row or have the same name */
  *#parse(text: string, isLast: boolean): Generator<FoundRecord> {
    this.#rest += text;
    if (this.#rest.length < this.#enough && !isLast) return;
    const { data, errors, meta } = this.#parser.parse(this.#rest, 0, !isLast) as Papa.ParseResult<string[]>;
    const wrong = new Map<number, string>();
    for (const { row, code } of errors) {
      if (wrong.has(row!)) continue;
      wrong.set(
        row!,
        code === "MissingQuotes" ? "a quotation mark is not closed" : "a quotation mark stands inside a cell",
      );
    }
    this.#rest = isLast ? "" : this.#rest.slice(meta.cursor);
    this.#enough = data.length === 0 ? this.#rest.length * 2 : 0;
    if (this.#rest.length > mostRowCharacters) {
      throw new Unreadable(
        `is longer than ${mostRowCharacters} characters; is a quotation mark not closed?`,
        quotes,
        this.here(),
      );
    }
    for (const [index, cells] of data.entries()) yield* this.#take(cells, wrong.get(index));
  }

  *end(): Generator<FoundRecord> {
    yield* this.#parse("", true);
  }

  /** The row that is read. */
  here(): RowSource {
    return { file: this.#file, number: Math.max(1, this.#number + 1), unit: "record", line: this.#line };
  }

  *#take(cells: string[], wrong: string | undefined): Generator<FoundRecord> {
    const line = this.#line;
    this.#line++;
    for (const cell of cells) this.#line += cell.split("\n").length - 1;
    const last = cells.length - 1;
    if (cells[last]!.endsWith("\r")) cells[last] = cells[last]!.slice(0, -1);
    if (cells.length === 1 && cells[0]!.trim() === "") return;
    if (this.#header === null) {
      if (wrong !== undefined) throw new Unreadable(`in its first line ${wrong}`, quotes);
      this.#header = columnNames(cells);
      this.#checkHeader(this.#header);
      return;
    }
    this.#number++;
    const source: RowSource = { file: this.#file, number: this.#number, unit: "record", line };
    if (wrong !== undefined) yield { source, wrong, remedy: quotes };
    else if (cells.every((cell) => cell === "")) {
      this.#empty++;
    } else if (cells.length !== this.#header.length) {
      yield {
        source,
        wrong: `has ${cells.length} cells where the first line names ${this.#header.length} columns`,
        remedy: quotes,
      };
    } else yield { source, value: rowOf(this.#header, cells) };
  }
}

function columnNames(cells: readonly string[]): string[] {
  const names = cells.map((cell) => cell.trim());
  const seen = new Set<string>();
  for (const name of names) {
    if (name !== "" && seen.has(name)) throw new Unreadable(`its first line names the column ${quoted(name)} twice`);
    seen.add(name);
  }
  return names;
}

function rowOf(header: readonly string[], cells: readonly string[]): Fields {
  const fields: Record<string, string> = Object.create(null);
  for (const [index, name] of header.entries()) if (name !== "") fields[name] = cells[index]!;
  return fields;
}
