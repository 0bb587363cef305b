import { PromptTemplates, type TemplateRecord } from "../llama/prompt/index.ts";
import { withAnswers } from "./cut-rows.ts";
import type { EncodedRow } from "./encoding/encode-row.ts";
import { encodeRows } from "./encoding/encode-rows.ts";
import { endMarksOf, withoutEndMarks } from "./end-marks.ts";
import { epochOrder } from "./epoch-order.ts";
import { evaluationNote } from "./evaluation.ts";
import type { Example } from "./examples.ts";
import { cutoffFor, type Plan, planRun } from "./plan.ts";
import { permutation, RandomStream } from "./random.ts";
import { type DatasetReport, datasetReport } from "./report/dataset-report.ts";
import { reportLines } from "./report/text.ts";
import { Sampler } from "./samples.ts";
import { checkSettings } from "./settings.ts";
import type { TrainingRun } from "./train-lora.ts";
import { validationExamples } from "./validation-data.ts";

/** What will be trained on, and how. */
export interface PreparedExamples {
  readonly plan: Plan;
  readonly training: readonly Example[];
  readonly validation: readonly Example[];
  readonly sampler?: Sampler | null;
  /** What the rows are to this run. */
  readonly report?: DatasetReport | undefined;
  /** The training examples in the order of the first epoch. */
  readonly firstEpoch?: readonly Example[] | undefined;
  /** What the examples are worded with. */
  readonly promptTemplate?: TemplateRecord | undefined;
}

/**
 * From rows and settings to examples and a plan; the log hears what was made of them.
 * @throws TRAINING_SETTINGS, DATASET_EMPTY, PROMPT_*, and the signal's reason
 */
export async function prepare(run: TrainingRun): Promise<PreparedExamples> {
  const { base, rows, settings, given, order, signal, log } = run;
  checkSettings(settings);
  const chosen = given ?? new Set(Object.keys(settings));
  const { config } = base.model;
  const context = config.maxPositionEmbeddings;
  const cutoff = cutoffFor(context, settings, chosen);
  if (cutoff !== settings.cutoff_len)
    log?.(`cutoff_len ${cutoff} instead of ${settings.cutoff_len}: the model's context`);

  const { tokenizer, checkpoint } = base;
  const template = await new PromptTemplates({ ...checkpoint, tokenizer }).choose({
    name: settings.prompt_template_name,
    file: settings.prompt_template,
    recorded: run.recorded,
  });
  log?.(`prompt template: ${template.title}`);
  if (template.note !== null) log?.(template.note);
  const marks = endMarksOf(tokenizer, checkpoint?.eosTokenIds ?? []);
  const ended = withoutEndMarks(rows, marks);
  const encoded = await encodeRows(ended.rows, tokenizer, {
    train_on_inputs: settings.train_on_inputs,
    template,
    cutoff,
    context,
    signal,
    place: checkpoint?.file ?? checkpoint?.folder,
    progress: (progress) => {
      for (const observer of run.observers ?? []) observer.encoding?.(progress);
    },
  });
  const kept = withAnswers(encoded, { cutoff, context });
  const examples = kept.reduce((sum, row) => sum + row.examples.length, 0);
  const { validationRows: rowsApart } = run;
  const apart = rowsApart
    ? await validationExamples(rowsApart, run, { template, cutoff, context, given: chosen })
    : null;
  const asked = { ...settings, cutoff_len: cutoff, ...(apart && { val_set_size: 0 }) };
  const plan = planRun(examples, config, asked, apart ? new Set([...chosen, "val_set_size"]) : chosen);
  for (const note of plan.notes) log?.(note);
  const parts = { ...divided(kept, plan, order), ...(apart && { validation: apart }) };
  const sampler = await Sampler.open(base, template, settings, signal);
  const has = { validation: parts.validation.length > 0, samples: sampler !== null };
  const note = evaluationNote(plan, given ?? new Set(), has);
  if (note !== null) log?.(note);
  const counted = { ...plan, settings: { ...plan.settings, val_set_size: parts.validation.length } };
  const firstEpoch = epochOrder(parts.training, { seed: plan.settings.seed, order, epoch: 0 });
  const report = await datasetReport(
    { ended, marks, template, encoded, context, tokenizer, plan: counted, ...parts, firstEpoch },
    signal,
  );
  log?.("Report:");
  for (const line of reportLines(report)) log?.(line);
  return { plan: counted, promptTemplate: template.record, sampler, report, firstEpoch, ...parts };
}

/** Of the examples of one row at most those of the last validation row are on both sides. */
function divided(rows: readonly EncodedRow[], { settings }: Plan, order: TrainingRun["order"]) {
  const { seed, val_set_size } = settings;
  const places = order === "file" ? rows.keys() : permutation(rows.length, new RandomStream(seed, "validation split"));
  const all = Array.from(places, (i) => rows[i]!.examples).flat();
  return { validation: all.slice(0, val_set_size), training: all.slice(val_set_size) };
}
