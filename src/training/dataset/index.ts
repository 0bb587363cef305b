import { basename } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { sliced } from "../../llama/time-slices.ts";
import { ByteBudget, mostDatasetBytes } from "./byte-budget.ts";
import { openContainer } from "./container.ts";
import { DatasetReader, type DatasetSummary } from "./reader.ts";
import type { Row } from "./row.ts";
import { type DatasetFormat, datasetFormats } from "./shapes.ts";

export type { DatasetSummary } from "./reader.ts";
export {
  type ConversationRow,
  describeSource,
  type InstructionRow,
  type Row,
  type RowSource,
  type TextRow,
} from "./row.ts";
export { type DatasetFormat, datasetFormats } from "./shapes.ts";

export interface DatasetOptions {
  /** The file's name in messages; its own by default. */
  readonly name?: string;
  /** What the rows are; "auto" (the default) tells it from the fields of each. */
  readonly format?: DatasetFormat;
  /** Columns that have other names: {"instruction": "question", "output": "answer"}. */
  readonly columns?: Readonly<Record<string, unknown>> | null | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Rows in the order of files and records, and what is to be known of them. */
export interface Dataset {
  readonly rows: readonly Row[];
  readonly summary: DatasetSummary;
}

/**
 * Reads a data set: JSON (an array, alone or in an object), JSONL, objects one after the other, CSV or TSV, in UTF-8 or
 * UTF-16; as a file, a .gz, or all such files of a .tar, .tar.gz, .zip or folder in the order of their names. What a file
 * is, its bytes say, not its name. All problems of all rows are told in one error.
 * @throws DATASET_NOT_FOUND, DATASET_FORMAT (more than LLAMA_DATASET_BYTES, 1 GiB by default, among it), DATASET_EMPTY,
 *   DATASET_ROW_FIELD, DATASET_COLUMNS, ARCHIVE_UNSAFE
 */
export async function readDataset(path: string, options: DatasetOptions = {}): Promise<Dataset> {
  const { name = basename(path), format = "auto", signal } = options;
  if (!datasetFormats.includes(format)) {
    throw new CodedError("TRAINING_SETTINGS", `dataset_format is ${JSON.stringify(format)}`, {
      hint: `Choose one of ${datasetFormats.join(", ")}.`,
    });
  }
  const reader = new DatasetReader(name, format, options.columns ?? {});
  const maxBytes = mostDatasetBytes();
  const container = await openContainer(path, { name, maxBytes, signal });
  try {
    const budget = new ByteBudget(maxBytes);
    const pause = sliced(signal);
    for (const file of container.files) await reader.read(file, { budget, signal, pause });
  } finally {
    await container.close();
  }
  return reader.finish(container.notes);
}
