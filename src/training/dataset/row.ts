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
  /** Counted from 1: records of a JSON array or a table (without its header), lines of JSONL. */
  readonly number: number;
  readonly unit: "record" | "line";
  /** Of a record: the line on which it begins. */
  readonly line?: number;
}

/** `data.jsonl, line 3`, `data.json, record 3 (line 9)`; no line where all is on the first one. */
export function describeSource({ file, number, unit, line }: RowSource): string {
  return `${file}, ${unit} ${number}${unit === "record" && line !== undefined && line > 1 ? ` (line ${line})` : ""}`;
}
