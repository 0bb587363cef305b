import type { LlamaConfig } from "../engine/config.ts";
import { CodedError } from "../errors/index.ts";
import type { TrainingSettings } from "./settings.ts";

/** Names of the settings that the user chose; the others are defaults. */
export type Given = ReadonlySet<string>;

/** A run over a data set of this size. */
export interface Plan {
  /** What was given as it is, defaults as the data and the model need them. */
  readonly settings: TrainingSettings;
  readonly trainingRows: number;
  readonly stepsPerEpoch: number;
  readonly steps: number;
  /** Whether every epoch ends with an evaluation, beside those after every eval_steps. */
  readonly evaluatesEpochs: boolean;
  /** What became of the settings, a line each. */
  readonly notes: readonly string[];
}

/** Of fewer rows alpaca-lora's defaults make fewer steps than leastSteps. */
const fewRows = 8500;
const leastSteps = 200;
const smallestBatch = 8;
/** Fewer rows than this are all needed for training. */
const leastRowsForValidation = 50;
/** The width alpaca-lora's learning rate is for. */
const widthOf7B = 4096;

/**
 * alpaca-lora's defaults are meant for 50,000 rows and 7B. With fewer rows a batch gets smaller, down to eight rows,
 * and where that is not enough the rows are seen more often, so that there are 200 steps; validation takes at most a
 * tenth of the rows and warm-up a tenth of the steps. A narrower model gets the higher learning rate it needs to learn
 * in so few steps. A setting that was given stays.
 * @throws TRAINING_SETTINGS for a given one that is not possible with these rows
 */
export function planRun(rows: number, { hiddenSize }: LlamaConfig, settings: TrainingSettings, given: Given): Plan {
  const adapted: string[] = [];
  const adapt = (name: AdaptedSetting, value: number): number => {
    if (given.has(name) || settings[name] === value) return settings[name];
    adapted.push(`${name} ${value} instead of ${settings[name]}`);
    return value;
  };
  const val_set_size = adapt("val_set_size", Math.min(settings.val_set_size, validationRows(rows)));
  if (val_set_size >= rows) {
    const found = `val_set_size ${val_set_size} of ${rows} ${rows === 1 ? "row" : "rows"}`;
    throw new CodedError("TRAINING_SETTINGS", `${found} leaves none to train on`);
  }
  const trainingRows = rows - val_set_size;
  const batch_size = adapt("batch_size", Math.min(smallerBatch(trainingRows, settings), trainingRows));
  const num_epochs = adapt("num_epochs", moreEpochs(trainingRows, { ...settings, batch_size }));
  const stepsPerEpoch = Math.ceil(trainingRows / batch_size);
  const steps = stepsPerEpoch * num_epochs;
  const warmup_steps = warmUp(steps, settings, given) ?? adapt("warmup_steps", defaultWarmUp(steps, settings));
  if (warmup_steps >= steps) {
    const ratio = settings.warmup_ratio ?? null;
    const name = ratio === null || settings.warmup_steps === warmup_steps ? "" : `warmup_ratio ${ratio}, `;
    const found = `${name}warmup_steps ${warmup_steps} of ${steps} ${steps === 1 ? "step" : "steps"}`;
    throw new CodedError("TRAINING_SETTINGS", `${found} leaves none at the full learning rate`);
  }
  const learning_rate = adapt("learning_rate", rateFor(trainingRows, hiddenSize, settings.learning_rate));
  const notes = adapted.length > 0 ? [`Adapted to ${rows} ${rows === 1 ? "row" : "rows"}: ${adapted.join(", ")}`] : [];
  if (batch_size > trainingRows) {
    notes.push(`batch_size ${batch_size} holds all ${trainingRows} rows: a step is an epoch`);
  }
  const chosen = { val_set_size, batch_size, num_epochs, warmup_steps, learning_rate };
  if (settings.warmup_ratio) notes.push(`warmup_ratio ${settings.warmup_ratio}: ${warmup_steps} of ${steps} steps`);
  // transformers evaluates every eval_steps alone; alpaca-lora's 200 of a short run would come too late.
  const evaluatesEpochs = !given.has("eval_steps");
  return { settings: { ...settings, ...chosen }, trainingRows, stepsPerEpoch, steps, evaluatesEpochs, notes };
}

type AdaptedSetting = "val_set_size" | "batch_size" | "num_epochs" | "warmup_steps" | "learning_rate";

/**
 * Tokens per row: the model's context where the default is longer.
 * @throws TRAINING_SETTINGS for a given one that is longer
 */
export function cutoffFor(context: number, { cutoff_len }: TrainingSettings, given: Given): number {
  if (cutoff_len <= context) return cutoff_len;
  if (!given.has("cutoff_len")) return context;
  throw new CodedError("TRAINING_SETTINGS", `cutoff_len ${cutoff_len} is more than the model's context of ${context}`);
}

/**
 * Steps of warmup_ratio, rounded up as transformers does; null where there is none.
 * @throws TRAINING_SETTINGS beside a warmup_steps
 */
function warmUp(steps: number, { warmup_ratio, warmup_steps }: TrainingSettings, given: Given): number | null {
  if (warmup_ratio === undefined || warmup_ratio === null) return null;
  if (given.has("warmup_steps") && warmup_steps > 0) {
    const message = `both warmup_steps ${warmup_steps} and warmup_ratio ${warmup_ratio} are given`;
    throw new CodedError("TRAINING_SETTINGS", message, { hint: "Give one of them." });
  }
  return Math.ceil(steps * warmup_ratio);
}

/** transformers' `constant` does not warm up. */
function defaultWarmUp(steps: number, { warmup_steps, lr_scheduler_type }: TrainingSettings): number {
  return lr_scheduler_type === "constant" ? 0 : Math.min(warmup_steps, Math.floor(steps / 10));
}

function validationRows(rows: number): number {
  return rows < leastRowsForValidation ? 0 : Math.floor(rows / 10);
}

function smallerBatch(rows: number, { batch_size, num_epochs }: TrainingSettings): number {
  let batch = batch_size;
  if (rows >= fewRows) return batch;
  while (batch > smallestBatch && Math.ceil(rows / batch) * num_epochs < leastSteps) {
    batch = Math.max(smallestBatch, Math.floor(batch / 2));
  }
  return batch;
}

/** Of batches no larger than the smallest: a large batch that was given is no reason to see many rows more often. */
function moreEpochs(rows: number, { batch_size, num_epochs }: TrainingSettings): number {
  const stepsPerEpoch = Math.ceil(rows / Math.min(batch_size, smallestBatch));
  return Math.max(num_epochs, Math.ceil(leastSteps / stepsPerEpoch));
}

/** The best rate of LoRA goes with width^-0.78 (Schulman et al. 2025, LoRA Without Regret); two digits of it. */
function rateFor(rows: number, width: number, rate: number): number {
  if (rows >= fewRows || width >= widthOf7B) return rate;
  return Number((rate * (widthOf7B / width) ** 0.78).toPrecision(2));
}
