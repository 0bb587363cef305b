import { createHash } from "node:crypto";
import { describeSource, type Row, type RowSource } from "./row.ts";

/** Rows whose content an earlier row has as well. */
export interface Duplicates {
  /** Of them, the earlier ones not counted. */
  readonly count: number;
  /** The first ones: the earlier row, and its copy. */
  readonly first: readonly (readonly [RowSource, RowSource])[];
}

const mostNamed = 5;

/** Finds rows of the same content as they come. */
export class DuplicateFinder {
  /** The first row with a text at its beginning, which most rows have alone; null once its digest is below. */
  readonly #beginnings = new Map<string, Row | null>();
  /** The first row of a content, where several begin alike. */
  readonly #contents = new Map<string, RowSource>();
  readonly #first: [RowSource, RowSource][] = [];
  #count = 0;

  see(row: Row): void {
    const beginning = beginningOf(row);
    const before = this.#beginnings.get(beginning);
    if (before === undefined) {
      this.#beginnings.set(beginning, row);
      return;
    }
    if (before !== null) this.#contents.set(digestOf(before), before.source);
    this.#beginnings.set(beginning, null);
    const own = digestOf(row);
    const earlier = this.#contents.get(own);
    if (earlier === undefined) this.#contents.set(own, row.source);
    else if (this.#count++ < mostNamed) this.#first.push([earlier, row.source]);
  }

  get found(): Duplicates {
    return { count: this.#count, first: this.#first };
  }
}

function beginningOf(row: Row): string {
  if ("turns" in row) return row.turns[0]!.content;
  return "text" in row ? row.text : row.instruction;
}

function digestOf(row: Row): string {
  const { source: _, ...content } = row;
  return createHash("sha256").update(JSON.stringify(content)).digest("base64");
}

/** One line about them; null where there are none. */
export function describeDuplicates({ count, first }: Duplicates): string | null {
  if (count === 0) return null;
  const shown = first.map(([earlier, copy]) => `${describeSource(copy)} is ${describeSource(earlier)}`);
  const more = count - first.length;
  const rows = count === 1 ? "1 row repeats" : `${count} rows repeat`;
  return `${rows} an earlier one: ${shown.join("; ")}${more > 0 ? ` and ${more} more` : ""}`;
}
