import { CodedError } from "../errors/index.ts";
import type { PromptTemplate } from "../llama/prompt/index.ts";
import { withAnswers } from "./cut-rows.ts";
import type { Row } from "./dataset/row.ts";
import { encodeRows } from "./encoding/encode-rows.ts";
import { endMarksOf, withoutEndMarks } from "./end-marks.ts";
import type { Example } from "./examples.ts";
import type { Given } from "./plan.ts";
import { cutoffReport } from "./report/dataset-report.ts";
import { cutText } from "./report/text.ts";
import type { TrainingRun } from "./train-lora.ts";

export interface ValidationOptions {
  readonly template: PromptTemplate;
  /** Tokens per example, and the model's. */
  readonly cutoff: number;
  readonly context: number;
  readonly given: Given;
}

/**
 * The examples of validation_data: all of its rows, or as many of its first as a given val_set_size says.
 * @throws TRAINING_SETTINGS for another number of rows than there are, DATASET_EMPTY, PROMPT_*, the signal's reason
 */
export async function validationExamples(
  rows: readonly Row[],
  { base, settings, signal, log }: TrainingRun,
  { given, ...options }: ValidationOptions,
): Promise<Example[]> {
  const { val_set_size } = settings;
  const isGiven = given.has("val_set_size");
  if (isGiven && (val_set_size < 1 || val_set_size > rows.length)) {
    const found = `val_set_size ${val_set_size} of the ${rows.length} rows of validation_data`;
    throw new CodedError("TRAINING_SETTINGS", found, {
      hint: `Give 1 to ${rows.length}, or leave it out to take all.`,
    });
  }
  const some = isGiven ? rows.slice(0, val_set_size) : rows;
  log?.(`validation_data: ${isGiven ? `the first ${some.length}` : "all"} of ${rows.length} rows`);
  const { rows: ended } = withoutEndMarks(some, endMarksOf(base.tokenizer, base.checkpoint?.eosTokenIds ?? []));
  const place = base.checkpoint?.file ?? base.checkpoint?.folder;
  const { train_on_inputs } = settings;
  const encoded = await encodeRows(ended, base.tokenizer, { train_on_inputs, ...options, place, signal });
  const kept = withAnswers(encoded, options);
  const cut = cutoffReport(encoded, options.cutoff, options.context);
  if (cut.cut > 0) log?.(`validation_data: ${cutText(cut, encoded.length)}`);
  return kept.flatMap(({ examples }) => examples);
}
