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
  readonly #seen = new Map<string, RowSource>();
  readonly #first: [RowSource, RowSource][] = [];
  #count = 0;

  see(row: Row): void {
    const { source, ...content } = row;
    const digest = createHash("sha256").update(JSON.stringify(content)).digest("base64");
    const earlier = this.#seen.get(digest);
    if (earlier === undefined) this.#seen.set(digest, source);
    else if (this.#count++ < mostNamed) this.#first.push([earlier, source]);
  }

  get found(): Duplicates {
    return { count: this.#count, first: this.#first };
  }
}

/** One line about them; null where there are none. */
export function describeDuplicates({ count, first }: Duplicates): string | null {
  if (count === 0) return null;
  const shown = first.map(([earlier, copy]) => `${describeSource(copy)} is ${describeSource(earlier)}`);
  const more = count - first.length;
  return `${count} ${count === 1 ? "row repeats" : "rows repeat"} an earlier one: ${shown.join("; ")}${more > 0 ? ` and ${more} more` : ""}`;
}
