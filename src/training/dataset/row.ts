import { CodedError } from "../../errors/index.ts";
import type { Message } from "../../llama/prompt/index.ts";

/** One row of a data set. */
export type Row = InstructionRow | ConversationRow | TextRow;

/** One instruction, in Stanford Alpaca's format; prompt and completion are one without an input. */
export interface InstructionRow {
  readonly instruction: string;
  /** "" where there is none. */
  readonly input: string;
  readonly output: string;
  readonly source: RowSource;
}

/** Turns of user and assistant; the answers are learnt, the last turn is one. */
export interface ConversationRow {
  readonly system: string | null;
  readonly turns: readonly Message[];
  readonly source: RowSource;
}

/** A text as it stands, without a template. */
export interface TextRow {
  readonly text: string;
  readonly source: RowSource;
}

/** Where a row was found, for messages. */
export interface RowSource {
  /** The file, inside its archive where there is one. */
  readonly file: string;
  /** Counted from 1: records of a JSON array, lines of JSONL. */
  readonly number: number;
  readonly unit: "record" | "line";
}

export function describeSource({ file, number, unit }: RowSource): string {
  return `${file}, ${unit} ${number}`;
}

const format = 'A row is {"instruction": "...", "input": "...", "output": "..."}; input may be left out.';

/** @throws DATASET_ROW_FIELD naming file, record, field and the type found. Keys of other names are ignored. */
export function checkRow(value: unknown, source: RowSource): InstructionRow {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(source, `must be an object, found ${typeName(value)}`);
  }
  const record = new Map<string, unknown>(Object.entries(value));
  const text = (field: string): string => {
    const found = record.get(field);
    if (found === undefined) throw wrong(source, `field "${field}" is missing`);
    if (typeof found !== "string") throw wrong(source, `field "${field}" must be a string, found ${typeName(found)}`);
    return found;
  };
  const hasInput = record.has("input") && record.get("input") !== null;
  return { instruction: text("instruction"), input: hasInput ? text("input") : "", output: text("output"), source };
}

function wrong(source: RowSource, what: string): CodedError {
  return new CodedError("DATASET_ROW_FIELD", `${describeSource(source)}: ${what}`, { hint: format });
}

function typeName(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}
