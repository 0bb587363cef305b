import { sliced } from "../../llama/time-slices.ts";
import type { Tokenizer } from "../../llama/tokenizer/tokenizer.ts";
import type { Row } from "../dataset/row.ts";
import type { TrainingSettings } from "../settings.ts";
import { type EncodedRow, encodeRow } from "./encode-row.ts";
import { type WordingOptions, wordRows } from "./wording.ts";

export type EncodingOptions = Pick<TrainingSettings, "train_on_inputs"> & WordingOptions;

/** Rows that are worded and encoded together. */
const rowsAtOnce = 64;

/** The rows as the model sees them, in their order. Throws PROMPT_*, and the signal's reason. */
export async function encodeRows(
  rows: readonly Row[],
  tokenizer: Tokenizer,
  options: EncodingOptions,
): Promise<EncodedRow[]> {
  const encoded: EncodedRow[] = [];
  const pause = sliced(options.signal);
  const { answer } = options.template;
  const { cutoff, context, train_on_inputs } = options;
  options.signal?.throwIfAborted();
  for (let start = 0; start < rows.length; start += rowsAtOnce) {
    const some = rows.slice(start, start + rowsAtOnce);
    for (const [index, worded] of (await wordRows(some, options)).entries()) {
      encoded.push(encodeRow(worded, some[index]!.source, tokenizer, { answer, cutoff, context, train_on_inputs }));
      await pause();
    }
  }
  return encoded;
}
