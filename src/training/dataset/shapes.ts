import { type Columns, type FieldName, type Fields, pairs, suggestedColumns } from "./columns.ts";
import { readConversation, typeName } from "./conversation.ts";
import { quoted } from "./problems.ts";
import type { Row, RowSource } from "./row.ts";

/** What `dataset_format` takes beside "auto". */
export const shapeNames = ["alpaca", "prompt-completion", "text", "messages", "sharegpt"] as const;
export const datasetFormats = ["auto", ...shapeNames] as const;

export type ShapeName = (typeof shapeNames)[number];
export type DatasetFormat = (typeof datasetFormats)[number];

interface Shape {
  /** "4 rows of …" */
  readonly title: string;
  readonly example: string;
  /** A row has all of these, and may have the others. */
  readonly required: readonly FieldName[];
  readonly optional: readonly FieldName[];
}

const shapes: Readonly<Record<ShapeName, Shape>> = {
  messages: {
    title: "chat messages",
    example: '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}',
    required: ["messages"],
    optional: ["system"],
  },
  sharegpt: {
    title: "ShareGPT conversations",
    example: '{"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]}',
    required: ["conversations"],
    optional: ["system"],
  },
  alpaca: {
    title: "Alpaca instructions",
    example: '{"instruction": "...", "input": "...", "output": "..."}; input may be left out',
    required: ["instruction", "output"],
    optional: ["input"],
  },
  "prompt-completion": {
    title: "prompt and completion",
    example: '{"prompt": "...", "completion": "..."}',
    required: ["prompt", "completion"],
    optional: [],
  },
  text: { title: "text", example: '{"text": "..."}', required: ["text"], optional: [] },
};

/** Of a row that is complete in several shapes the first one counts: Alpaca's rows often bring their text as well. */
const order: readonly ShapeName[] = ["messages", "sharegpt", "alpaca", "prompt-completion", "text"];

export function shapeTitle(name: ShapeName): string {
  return shapes[name].title;
}

/** How the fields of a row are read: its shape, and the columns they are taken from. */
export interface Reading {
  readonly shape: ShapeName;
  /** Column of a question and of its answer that stand for prompt and completion. */
  readonly pair?: readonly [string, string];
}

/** A row, or what is wrong with it. */
export type ReadRow =
  | { readonly row: Row; readonly unanswered: number }
  | { readonly wrong: readonly string[]; readonly remedy?: string };

/**
 * The shape that a row's own fields say.
 * @param before the shape of the file's first row: a row that lacks fields is measured by it
 */
export function readingOf(row: Fields, columns: Columns, before: ShapeName | null): Reading | null {
  const has = (field: FieldName) => (columns.value(row, field) ?? null) !== null;
  const complete = order.find((name) => shapes[name].required.every(has));
  if (complete !== undefined) return { shape: complete };
  const found = pairs.filter((pair) => pair.every((name) => typeof row[name] === "string"));
  // A context would be left out, and two answers are one too many.
  const isAlone =
    found.length === 1 && !(["instruction", "input", "output"] as const).some(has) && !Object.hasOwn(row, "context");
  if (isAlone) return { shape: "prompt-completion", pair: found[0]! };
  const hasAny = (name: ShapeName) =>
    [...shapes[name].required, ...shapes[name].optional].some((field) => columns.value(row, field) !== undefined);
  const partial = before !== null && hasAny(before) ? before : order.find(hasAny);
  const shape = partial ?? before;
  return shape === null || shape === undefined ? null : { shape };
}

/** Reads a row in a shape. */
export function readRow(row: Fields, { shape, pair }: Reading, columns: Columns, source: RowSource): ReadRow {
  if (shape === "messages" || shape === "sharegpt") return conversationRow(row, shape, columns, source);
  const wrong: string[] = [];
  const text = (field: FieldName, isOptional = false): string => {
    const found = columns.value(row, field);
    if (isOptional && (found ?? null) === null) return "";
    if (typeof found === "string") return found;
    const name = columns.shown(field);
    wrong.push(
      found === undefined ? `field ${name} is missing` : `field ${name} must be a string, found ${typeName(found)}`,
    );
    return "";
  };
  let read: Row;
  if (shape === "text") read = { text: text("text"), source };
  else if (pair !== undefined) {
    const [prompt, completion] = pair.map((name) => row[name] as string) as [string, string];
    read = { instruction: prompt, input: "", output: completion, source };
  } else if (shape === "prompt-completion") {
    read = { instruction: text("prompt"), input: "", output: text("completion"), source };
  } else read = { instruction: text("instruction"), input: text("input", true), output: text("output"), source };
  return wrong.length === 0 ? { row: read, unanswered: 0 } : { wrong, remedy: remedyFor(shape, Object.keys(row)) };
}

function conversationRow(row: Fields, shape: "messages" | "sharegpt", columns: Columns, source: RowSource): ReadRow {
  const found = columns.value(row, shape === "messages" ? "messages" : "conversations");
  const name = columns.shown(shape === "messages" ? "messages" : "conversations");
  if (found === undefined) return { wrong: [`field ${name} is missing`], remedy: remedyFor(shape, Object.keys(row)) };
  const system = columns.value(row, "system");
  if ((system ?? null) !== null && typeof system !== "string") {
    return { wrong: [`field ${columns.shown("system")} must be a string, found ${typeName(system)}`] };
  }
  const read = readConversation(found, system, name);
  if ("wrong" in read) return { wrong: read.wrong, remedy: remedyFor(shape, []) };
  return { row: { system: read.system, turns: read.turns, source }, unanswered: read.unanswered };
}

/** How a row of the shape looks; the columns to name, where the names there are tell. */
function remedyFor(shape: ShapeName, names: readonly string[]): string {
  const suggestion = suggestedColumns(names);
  const columns = suggestion === null ? "" : ` Say which column is which: ${suggestion}.`;
  return `A row is ${shapes[shape].example}.${columns}`;
}

/** What is wrong with a row, or with a table's columns, that no shape fits. */
export function shapeless(names: readonly string[]): { what: string; remedy: string } {
  const suggestion = suggestedColumns(names);
  const shown = names.slice(0, 20).map(quoted).join(", ");
  return {
    what: names.length === 0 ? "is an empty object" : `has none of the fields of a row; it has ${shown}`,
    remedy:
      suggestion === null
        ? `A row is one of ${order.map((name) => shapes[name].example).join(", ")}.`
        : `Say which column is which: ${suggestion}.`,
  };
}

/** What a table's columns lack to make rows: null where they make them. */
export function missingColumns(
  names: readonly string[],
  format: DatasetFormat,
  columns: Columns,
): { what: string; remedy: string } | null {
  const row: Fields = Object.fromEntries(names.map((name) => [name, ""]));
  const reading = format === "auto" ? readingOf(row, columns, null) : { shape: format };
  if (reading === null) return shapeless(names);
  if (reading.pair !== undefined) return null;
  const missing = shapes[reading.shape].required.filter((field) => columns.value(row, field) === undefined);
  if (missing.length === 0) return null;
  const shown = missing.map((field) => columns.shown(field)).join(" and ");
  return { what: `its first line names no column ${shown}`, remedy: remedyFor(reading.shape, names) };
}

/** Columns that a reading takes its fields from. */
export function columnsRead({ shape, pair }: Reading, columns: Columns): string[] {
  if (pair !== undefined) return [...pair];
  return [...shapes[shape].required, ...shapes[shape].optional].map((field) => columns.column(field));
}
