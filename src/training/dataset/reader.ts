import { CodedError } from "../../errors/index.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { Columns, type Fields, fieldNames, pairs } from "./columns.ts";
import type { DataFile } from "./container.ts";
import { typeName } from "./conversation.ts";
import { listed } from "./data-names.ts";
import { type FoundRecord, recordsOf } from "./file-records.ts";
import { FileSummary } from "./file-summary.ts";
import { Problems, Unreadable } from "./problems.ts";
import { describeSource, type Row } from "./row.ts";
import {
  columnsRead,
  type DatasetFormat,
  missingColumns,
  readingOf,
  readRow,
  type ShapeName,
  shapeless,
} from "./shapes.ts";

/** What a data set was found to be. */
export interface DatasetSummary {
  /** Names of the files that were read. */
  readonly files: readonly string[];
  /** Rows of each shape. */
  readonly shapes: ReadonlyMap<ShapeName, number>;
  readonly rows: number;
  /** Lines for the log: shapes, what was left out, columns that are not read. */
  readonly notes: readonly string[];
}

export interface ReadingOptions {
  readonly budget: ByteBudget;
  readonly signal: AbortSignal | undefined;
  /** Lets others run every few milliseconds. */
  readonly pause: () => Promise<void> | undefined;
}

/** Files that have lines of their own in the log. */
const mostNoted = 20;

/** Reads the files of one data set: rows, what is to be said of them, and all their problems. */
export class DatasetReader {
  readonly #name: string;
  readonly #format: DatasetFormat;
  readonly #columns: Columns;
  readonly #problems = new Problems();
  readonly #rows: Row[] = [];
  readonly #files: FileSummary[] = [];
  readonly #notes: string[] = [];
  /** Columns that fields were taken from. */
  readonly #read = new Set<string>();
  /** The shape of the current file's first row. */
  #shape: ShapeName | null = null;

  /** @param name of the data set in messages @throws DATASET_COLUMNS */
  constructor(name: string, format: DatasetFormat, columns: Readonly<Record<string, unknown>>) {
    this.#name = name;
    this.#format = format;
    this.#columns = new Columns(columns);
  }

  /** @throws DATASET_NOT_FOUND, ARCHIVE_UNSAFE, the signal's reason; what is wrong with rows is kept for the end */
  async read(file: DataFile, { budget, signal, pause }: ReadingOptions): Promise<void> {
    const summary = new FileSummary(file.name);
    this.#files.push(summary);
    this.#shape = null;
    const rowKeys = new Set<string>([...fieldNames, ...pairs.flat(), ...this.#columns.named]);
    const options = {
      budget,
      signal,
      isRowKey: (key: string) => rowKeys.has(key),
      checkHeader: (names: readonly string[]) => this.#checkHeader(names),
    };
    const say = (note: string) => {
      if (this.#files.length <= mostNoted) this.#notes.push(note);
    };
    try {
      for await (const records of recordsOf(file, options, say)) {
        for (const record of records) {
          this.#take(record, summary);
          const turn = pause();
          if (turn) await turn;
        }
      }
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      const where = error.source === undefined ? file.name : describeSource(error.source);
      this.#problems.add({ code: "DATASET_FORMAT", where, what: error.what, remedy: error.remedy });
    }
  }

  /** @throws DATASET_COLUMNS, DATASET_FORMAT and DATASET_ROW_FIELD with all problems, DATASET_EMPTY */
  finish(containerNotes: readonly string[]): { rows: readonly Row[]; summary: DatasetSummary } {
    this.#columns.requireSeen(this.#name);
    this.#problems.refuse(this.#name);
    if (this.#rows.length === 0) throw new CodedError("DATASET_EMPTY", `${this.#name}: holds no rows`);
    const shapes = new Map<ShapeName, number>();
    for (const file of this.#files) {
      for (const [shape, count] of file.shapes) shapes.set(shape, (shapes.get(shape) ?? 0) + count);
    }
    const others = this.#files.slice(mostNoted);
    const unread = this.#columns.unread(this.#read);
    const notes = [
      ...containerNotes,
      ...this.#files.slice(0, mostNoted).flatMap((file) => file.notes),
      ...(others.length > 0
        ? [`${others.length} more files: ${others.reduce((sum, { rows }) => sum + rows, 0)} rows`]
        : []),
      ...this.#notes,
      ...(unread.length > 0 ? [`${this.#name}: columns that are not read: ${listed(unread, 10)}`] : []),
    ];
    const summary = {
      files: this.#files.map(({ file }) => file),
      shapes,
      rows: this.#rows.length,
      notes,
    };
    return { rows: this.#rows, summary };
  }

  #checkHeader(names: readonly string[]): void {
    this.#columns.see(Object.fromEntries(names.filter((name) => name !== "").map((name) => [name, ""])));
    const missing = missingColumns(names, this.#format, this.#columns);
    if (missing === null) return;
    const isTable = names.length > 1;
    throw new Unreadable(
      isTable ? missing.what : `starts neither with [ nor with {, and as a table ${missing.what}`,
      missing.remedy,
    );
  }

  #take(record: FoundRecord, summary: FileSummary): void {
    const { source } = record;
    const wrong = (code: "DATASET_FORMAT" | "DATASET_ROW_FIELD", what: string, remedy?: string) =>
      this.#problems.add({ code, where: describeSource(source), what, remedy });
    if ("wrong" in record) {
      wrong("DATASET_FORMAT", record.wrong, record.remedy);
      return;
    }
    const { value } = record;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      wrong("DATASET_ROW_FIELD", `must be an object, found ${typeName(value)}`);
      return;
    }
    const fields = value as Fields;
    this.#columns.see(fields);
    const reading = this.#format === "auto" ? readingOf(fields, this.#columns, this.#shape) : { shape: this.#format };
    if (reading === null) {
      const { what, remedy } = shapeless(Object.keys(fields));
      wrong("DATASET_ROW_FIELD", what, remedy);
      return;
    }
    this.#shape ??= reading.shape;
    for (const column of columnsRead(reading, this.#columns)) this.#read.add(column);
    const read = readRow(fields, reading, this.#columns, source);
    if ("wrong" in read) {
      wrong("DATASET_ROW_FIELD", read.wrong.join("; "), read.remedy);
      return;
    }
    summary.add(reading, read.unanswered);
    // Rows of a data set that is refused are not kept.
    if (this.#problems.count > 0) return;
    this.#rows.push(read.row);
  }
}
