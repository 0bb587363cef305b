import { CodedError } from "../../errors/index.ts";
import { quoted } from "./problems.ts";

/** The fields of all shapes of rows, as `columns` may name them. */
export const fieldNames = [
  "instruction",
  "input",
  "output",
  "prompt",
  "completion",
  "text",
  "messages",
  "conversations",
  "system",
] as const;

export type FieldName = (typeof fieldNames)[number];

/** A row as its file has it. */
export type Fields = Readonly<Record<string, unknown>>;

/** Names that are remembered of all rows, for messages. */
const mostNames = 1000;

/** Which column of the data is which field of a row; a field that is not named has its own name. */
export class Columns {
  readonly #theirs: ReadonlyMap<string, string>;
  readonly #seen = new Set<string>();

  /** @throws DATASET_COLUMNS for a field that no row has, and for what is no name */
  constructor(columns: Readonly<Record<string, unknown>>) {
    const theirs = new Map<string, string>();
    for (const [field, column] of Object.entries(columns)) {
      if (!(fieldNames as readonly string[]).includes(field)) {
        throw new CodedError("DATASET_COLUMNS", `columns: ${quoted(field)} is no field of a row`, {
          hint: `Fields are ${fieldNames.join(", ")}, as in columns='{"instruction": "question", "output": "answer"}'.`,
        });
      }
      if (typeof column !== "string" || column === "") {
        throw new CodedError("DATASET_COLUMNS", `columns: ${field} is ${quoted(String(column))}, not a column's name`);
      }
      theirs.set(field, column);
    }
    this.#theirs = theirs;
  }

  /** The column that is read for a field. */
  column(field: string): string {
    return this.#theirs.get(field) ?? field;
  }

  /** Columns that the user named. */
  get named(): string[] {
    return [...this.#theirs.values()];
  }

  /** The value of a field; undefined where the row does not have it. */
  value(row: Fields, field: string): unknown {
    const column = this.column(field);
    return Object.hasOwn(row, column) ? row[column] : undefined;
  }

  /** `"output"`, or `"answer" (output)` where it has another name. */
  shown(field: string): string {
    const column = this.column(field);
    return column === field ? JSON.stringify(field) : `${quoted(column)} (${field})`;
  }

  /** Remembers which columns there are. */
  see(row: Fields): void {
    for (const name in row) if (this.#seen.size < mostNames) this.#seen.add(name);
  }

  /** @throws DATASET_COLUMNS where no row has a column that the user named */
  requireSeen(dataset: string): void {
    for (const [field, column] of this.#theirs) {
      if (this.#seen.has(column) || this.#seen.size >= mostNames) continue;
      const there = [...this.#seen].slice(0, 20).map(quoted).join(", ");
      throw new CodedError(
        "DATASET_COLUMNS",
        `${dataset}: no row has ${quoted(column)}, named as ${field} in columns`,
        {
          hint: `The columns are ${there}.`,
        },
      );
    }
  }

  /** Columns that no field is read from. */
  unread(read: ReadonlySet<string>): string[] {
    return [...this.#seen].filter((name) => !read.has(name));
  }
}

/** Names that other data sets have for the fields. */
const aliases: Partial<Record<FieldName, readonly string[]>> = {
  instruction: ["question", "query", "prompt", "task", "input"],
  output: ["answer", "response", "completion", "target", "output"],
  input: ["context", "input"],
  text: ["content", "document"],
  messages: ["conversation", "dialog", "dialogue", "chat"],
};

/** Names of one question and one answer that can mean nothing else. */
export const pairs: readonly (readonly [prompt: string, completion: string])[] = [
  ["question", "answer"],
  ["query", "response"],
  ["prompt", "response"],
];

/** The `columns` that would make rows of these names, as the command takes them; null where none is near. */
export function suggestedColumns(names: readonly string[]): string | null {
  const there = (field: string, among: readonly string[], taken: readonly string[]): string | undefined => {
    const wanted = [field, ...among];
    for (const name of wanted) {
      const found = names.find((each) => each.trim().toLowerCase() === name && !taken.includes(each));
      if (found !== undefined) return found;
    }
    return undefined;
  };
  const find = (field: FieldName, taken: readonly string[] = []) => there(field, aliases[field] ?? [], taken);
  const instruction = find("instruction");
  const output = instruction === undefined ? undefined : find("output", [instruction]);
  let columns: Partial<Record<FieldName, string>> = {};
  if (instruction !== undefined && output !== undefined) {
    const input = find("input", [instruction, output]);
    columns = { instruction, output, ...(input === undefined ? {} : { input }) };
  } else {
    const [messages, text] = [find("messages"), find("text")];
    if (messages !== undefined) columns = { messages };
    else if (text !== undefined) columns = { text };
  }
  const changed = Object.entries(columns).filter(([field, column]) => field !== column);
  return changed.length === 0 ? null : `columns='${JSON.stringify(Object.fromEntries(changed)).replaceAll("'", "")}'`;
}
