import type { FoundRecord, RecordReader } from "./file-records.ts";
import type { Format } from "./format.ts";
import { parseRecord } from "./json-record.ts";
import { quoted } from "./problems.ts";
import { LineSplitter, type RawRecord, type RecordSplitter } from "./records.ts";
import type { RowSource } from "./row.ts";
import { ValueSplitter } from "./value-splitter.ts";

/** Records of JSON in any of its formats. */
export class JsonReader implements RecordReader {
  readonly #splitter: RecordSplitter;
  readonly notes: readonly string[];

  /** @param linesBefore that were skipped */
  constructor(file: string, format: Exclude<Format, { kind: "table" }>, linesBefore: number) {
    const isByLines = format.kind === "lines";
    this.#splitter = isByLines ? new LineSplitter(file, linesBefore) : new ValueSplitter(file, format, linesBefore);
    const key = format.kind === "array" ? format.key : null;
    this.notes = key === null ? [] : [`${file}: its rows are those of ${quoted(key)}`];
  }

  *push(bytes: Buffer): Generator<FoundRecord> {
    for (const record of this.#splitter.push(bytes)) yield found(record);
  }

  *end(): Generator<FoundRecord> {
    for (const record of this.#splitter.end()) yield found(record);
  }

  here(): RowSource {
    return this.#splitter.here();
  }
}

function found(record: RawRecord): FoundRecord {
  return { source: record.source, ...parseRecord(record) };
}
