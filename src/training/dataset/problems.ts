import { CodedError, type ErrorCode } from "../../errors/index.ts";
import type { RowSource } from "./row.ts";

/** What is wrong with one place of a data set. */
export interface Problem {
  readonly code: Extract<ErrorCode, "DATASET_FORMAT" | "DATASET_ROW_FIELD">;
  /** File, record and line. */
  readonly where: string;
  readonly what: string;
  /** What to do about it, as a sentence. */
  readonly remedy?: string | undefined;
}

/** Problems that are listed; the others are counted. */
const mostListed = 20;
const mostCharacters = 500;

/** What a file's rest cannot be read for: the reader goes on with the next file. */
export class Unreadable extends Error {
  readonly what: string;
  readonly remedy: string | undefined;
  /** The record it is about, where it is not about the file. */
  readonly source: RowSource | undefined;

  constructor(what: string, remedy?: string, source?: RowSource) {
    super(what);
    this.what = what;
    this.remedy = remedy;
    this.source = source;
  }
}

/** The problems of one data set, in the order of its files and rows. */
export class Problems {
  readonly #listed: Problem[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(problem: Problem): void {
    if (this.#count++ < mostListed) this.#listed.push(problem);
  }

  /** @param name of the data set @throws all of them as one error with the first one's code, unless there are none */
  refuse(name: string): void {
    const [first] = this.#listed;
    if (first === undefined) return;
    const remedies = [...new Set(this.#listed.flatMap(({ remedy }) => remedy ?? []))];
    const hint = remedies.length === 0 ? undefined : remedies.join("\n");
    if (this.#count === 1) throw new CodedError(first.code, lineOf(first), { hint });
    const more = this.#count - this.#listed.length;
    const lines = [...this.#listed.map(lineOf), ...(more > 0 ? [`and ${more} more`] : [])];
    throw new CodedError(first.code, `${name} has ${this.#count} problems:\n- ${lines.join("\n- ")}`, { hint });
  }
}

function lineOf({ where, what }: Problem): string {
  return `${where}: ${shortened(what, mostCharacters)}`;
}

/** At most so many characters, on one line. */
export function shortened(text: string, most = 100): string {
  const line = text.replaceAll(/[\r\n]+/g, " ");
  return line.length > most ? `${line.slice(0, most)}…` : line;
}

/** A name or value as a file has it, in quotation marks, shortened. */
export function quoted(text: string): string {
  return shortened(JSON.stringify(text));
}
