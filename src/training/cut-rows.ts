import { CodedError } from "../errors/index.ts";
import { describeSource, type RowSource } from "./dataset/index.ts";
import type { EncodedRow } from "./encoding/encode-row.ts";

/** Rows named in a message. */
const mostNamed = 5;

/** Tokens per example, and the most that the model takes. */
export interface Lengths {
  readonly cutoff: number;
  readonly context: number;
}

/**
 * The rows that keep a token of their answer; the others are left out, also where their prompts could be learnt: an
 * adapter is asked for answers. The log hears how many rows are cut and which cutoff_len would hold them.
 * @throws DATASET_EMPTY where none is left
 */
export function withAnswers(
  encoded: readonly EncodedRow[],
  lengths: Lengths,
  log: ((line: string) => void) | undefined,
): EncodedRow[] {
  const kept = encoded.filter(({ lost }) => lost !== "answer");
  const left = encoded.filter(({ lost }) => lost === "answer");
  if (kept.length === 0) throw nothingLeft(encoded, lengths);
  const cut = encoded.filter(({ lost }) => lost !== "nothing");
  if (cut.length > 0) {
    const ends = cut.length - left.length;
    log?.(
      `${cut.length} of ${encoded.length} rows are longer than cutoff_len ${lengths.cutoff}: ` +
        `${left.length} lose their whole answer and are left out, ${ends} lose its end; ${remedy(cut, lengths)}`,
    );
  }
  if (left.length > 0) log?.(`Left out: ${named(left.map(({ source }) => source))}`);
  return kept;
}

function nothingLeft(encoded: readonly EncodedRow[], lengths: Lengths): CodedError {
  const { cutoff } = lengths;
  const rows = encoded.length === 1 ? "the only row has no token" : `none of the ${encoded.length} rows has a token`;
  const where = named(encoded.map(({ source }) => source));
  const message = `${rows} of its answer within cutoff_len ${cutoff}: ${where}`;
  const hint = `The prompts alone are longer: ${remedy(encoded, lengths)}.`;
  return new CodedError("DATASET_EMPTY", message, { hint });
}

/** Which cutoff_len holds these rows whole, and which of them none can. */
function remedy(cut: readonly EncodedRow[], { context }: Lengths): string {
  const fitting = cut.map(({ length }) => length).filter((length) => length <= context);
  const beyond = cut.length - fitting.length;
  const longer = `${beyond} are longer than the model's context of ${context} tokens and have to be shortened`;
  if (fitting.length === 0) return longer;
  const holds = `cutoff_len=${fitting.reduce((most, length) => Math.max(most, length))} holds`;
  return beyond === 0 ? `${holds} all of them` : `${holds} ${fitting.length} of them, ${longer}`;
}

/** "data.json, record 1, 2, 7 and 12 more" */
function named(sources: readonly RowSource[]): string {
  const [first, ...others] = sources;
  const shown = [describeSource(first!), ...others.slice(0, mostNamed - 1).map(({ number }) => `${number}`)];
  const more = sources.length - shown.length;
  return `${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
