import { CodedError } from "../errors/index.ts";
import { describeSource, type RowSource } from "./dataset/index.ts";
import type { EncodedRow } from "./encoding/encode-row.ts";
import { cutoffReport } from "./report/dataset-report.ts";
import { remedy } from "./report/text.ts";

/** Rows named in a message. */
const mostNamed = 5;

/** Tokens per example, and the most that the model takes. */
export interface Lengths {
  readonly cutoff: number;
  readonly context: number;
}

/**
 * The rows that keep a token of their answer; the others are left out, also where their prompts could be learnt: an
 * adapter is asked for answers.
 * @throws DATASET_EMPTY where none is left, with the cutoff_len that would hold them
 */
export function withAnswers(encoded: readonly EncodedRow[], { cutoff, context }: Lengths): EncodedRow[] {
  const kept = encoded.filter(({ lost }) => lost !== "answer");
  if (kept.length > 0) return kept;
  const rows = encoded.length === 1 ? "the only row has no token" : `none of the ${encoded.length} rows has a token`;
  const where = named(encoded.map(({ source }) => source));
  const message = `${rows} of its answer within cutoff_len ${cutoff}: ${where}`;
  const hint = `The prompts alone are longer: ${remedy(cutoffReport(encoded, cutoff, context))}.`;
  throw new CodedError("DATASET_EMPTY", message, { hint });
}

/** "data.json, record 1, 2, 7 and 12 more" */
function named(sources: readonly RowSource[]): string {
  const [first, ...others] = sources;
  const shown = [describeSource(first!), ...others.slice(0, mostNamed - 1).map(({ number }) => `${number}`)];
  const more = sources.length - shown.length;
  return `${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
