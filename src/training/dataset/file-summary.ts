import { quoted } from "./problems.ts";
import { type Reading, type ShapeName, shapeTitle } from "./shapes.ts";

/** Counts what the rows of one file are. */
export class FileSummary {
  readonly file: string;
  readonly #shapes = new Map<ShapeName, number>();
  readonly #pairs = new Map<string, number>();
  #unanswered = 0;
  rows = 0;

  constructor(file: string) {
    this.file = file;
  }

  /** @param unanswered turns that were cut off */
  add({ shape, pair }: Reading, unanswered: number): void {
    this.rows++;
    this.#shapes.set(shape, (this.#shapes.get(shape) ?? 0) + 1);
    if (unanswered > 0) this.#unanswered++;
    if (pair === undefined) return;
    const names = pair.map(quoted).join(" and ");
    this.#pairs.set(names, (this.#pairs.get(names) ?? 0) + 1);
  }

  get shapes(): ReadonlyMap<ShapeName, number> {
    return this.#shapes;
  }

  /** `data.jsonl: 4 rows of chat messages`, and what else is to be known. */
  get notes(): string[] {
    const kinds = [...this.#shapes].map(([shape, count], index) => {
      const rows = index > 0 ? "" : count === 1 ? " row" : " rows";
      return `${count}${rows} of ${shapeTitle(shape)}`;
    });
    const notes = kinds.length === 0 ? [] : [`${this.file}: ${kinds.join(", ")}`];
    for (const [names, count] of this.#pairs) {
      notes.push(
        `${this.file}: ${names} of ${count} ${count === 1 ? "row" : "rows"} are taken as prompt and completion`,
      );
    }
    if (this.#unanswered > 0) {
      const end = this.#unanswered === 1 ? "1 conversation ends" : `${this.#unanswered} conversations end`;
      notes.push(`${this.file}: ${end} with words of the user that nobody answers: these are left out`);
    }
    return notes;
  }
}
