import { linearNames } from "../engine/config.ts";
import { CodedError } from "../errors/index.ts";
import { checkTemplateName } from "../llama/prompt/index.ts";
import { type ScheduleName, schedules } from "./schedule.ts";

/** PEFT's word for every linear of the layers. */
export const allLinear = "all-linear";
export const targetModules = [...linearNames, allLinear] as const;

/** Prompts that are answered at every evaluation. */
export const mostSamples = 8;

/** The knobs of a training, under alpaca-lora's names. train.ts holds the defaults and says what each one does. */
export interface TrainingSettings {
  readonly num_epochs: number;
  readonly learning_rate: number;
  /** Rows per optimiser step. */
  readonly batch_size: number;
  /** A micro-batch holds at most micro_batch_size * cutoff_len tokens: what this many full rows would take. */
  readonly micro_batch_size: number;
  /** Tokens per row. */
  readonly cutoff_len: number;
  /** Rows. */
  readonly val_set_size: number;
  readonly lora_r: number;
  readonly lora_alpha: number;
  readonly lora_dropout: number;
  /** ["all-linear"] is all of them. */
  readonly lora_target_modules: readonly (typeof targetModules)[number][];
  /** Scale lora_alpha / sqrt(lora_r) instead of lora_alpha / lora_r. */
  readonly use_rslora: boolean;
  /** Ranks of modules that have another than lora_r: PEFT's keys, the first one that matches counts. */
  readonly rank_pattern?: Readonly<Record<string, unknown>> | null;
  readonly alpha_pattern?: Readonly<Record<string, unknown>> | null;
  readonly train_on_inputs: boolean;
  readonly prompt_template_name: string;
  /** A file with a template, instead of a name. */
  readonly prompt_template?: { readonly path: string; readonly name?: string } | null;
  readonly seed: number;
  readonly lr_scheduler_type: ScheduleName;
  readonly warmup_steps: number;
  /** A share of the steps instead. */
  readonly warmup_ratio?: number | null;
  readonly weight_decay: number;
  /** 0 is off. */
  readonly max_grad_norm: number;
  /** Steps from one evaluation to the next. */
  readonly eval_steps: number;
  /** Evaluations without a better loss after which the run ends; 0 is off. */
  readonly early_stopping_patience: number;
  /** Instructions that the adapter in training answers before the first step, at every evaluation and after the last. */
  readonly sample_prompts?: readonly string[] | null;
  /** Of an answer to one of them, at most. */
  readonly sample_tokens: number;
}

const atLeastOne = (n: number): boolean => Number.isSafeInteger(n) && n >= 1;
const count = (n: number): boolean => Number.isSafeInteger(n) && n >= 0;
const amount = (n: number): boolean => Number.isFinite(n) && n >= 0;

const limits = {
  num_epochs: [atLeastOne, "an integer from 1"],
  learning_rate: [(n) => amount(n) && n <= 1e6, "a number from 0 to 1e6"],
  batch_size: [atLeastOne, "an integer from 1"],
  micro_batch_size: [atLeastOne, "an integer from 1"],
  cutoff_len: [(n) => atLeastOne(n) && n >= 2, "an integer from 2"],
  val_set_size: [count, "an integer from 0"],
  lora_r: [(n) => atLeastOne(n) && n <= 4096, "an integer from 1 to 4096"],
  lora_alpha: [(n) => Number.isFinite(n) && n > 0, "a number above 0"],
  lora_dropout: [(n) => n >= 0 && n < 1, "a number from 0 to below 1"],
  seed: [count, "an integer from 0"],
  warmup_steps: [count, "an integer from 0"],
  weight_decay: [amount, "a number from 0"],
  max_grad_norm: [amount, "a number from 0"],
  eval_steps: [atLeastOne, "an integer from 1"],
  early_stopping_patience: [count, "an integer from 0"],
  sample_tokens: [(n) => atLeastOne(n) && n <= 4096, "an integer from 1 to 4096"],
} satisfies Partial<Record<keyof TrainingSettings, [(n: number) => boolean, string]>>;

/** @throws TRAINING_SETTINGS naming the setting and its value, PROMPT_TEMPLATE_UNKNOWN */
export function checkSettings(settings: TrainingSettings): void {
  const fail = (name: keyof TrainingSettings, what: string): never => {
    throw new CodedError("TRAINING_SETTINGS", `${name} must be ${what}, found ${JSON.stringify(settings[name])}`);
  };
  for (const name of Object.keys(limits) as (keyof typeof limits)[]) {
    const [valid, what] = limits[name];
    if (!valid(settings[name])) fail(name, what);
  }
  const { warmup_ratio: ratio } = settings;
  if (typeof ratio === "number" && !(ratio >= 0 && ratio < 1)) fail("warmup_ratio", "a number from 0 to below 1");
  if (!schedules.includes(settings.lr_scheduler_type)) fail("lr_scheduler_type", `one of ${schedules.join(", ")}`);
  const targets = settings.lora_target_modules;
  const isAll = targets.length === 1 && targets[0] === allLinear;
  const known = targets.every((name) => name !== allLinear && linearNames.includes(name));
  if (!isAll && (targets.length === 0 || !known || new Set(targets).size !== targets.length))
    fail("lora_target_modules", `"${allLinear}", or a list of some of ${linearNames.join(", ")}, each once`);
  const { sample_prompts: prompts } = settings;
  if (prompts && prompts.length > mostSamples) fail("sample_prompts", `a list of at most ${mostSamples} texts`);
  checkPattern("rank_pattern", settings.rank_pattern, limits.lora_r);
  checkPattern("alpha_pattern", settings.alpha_pattern, limits.lora_alpha);
  checkTemplateName(settings.prompt_template_name);
}

function checkPattern(name: string, pattern: unknown, [valid, what]: readonly [(n: number) => boolean, string]): void {
  if (pattern === undefined || pattern === null) return;
  const fail = (found: string): never => {
    throw new CodedError("TRAINING_SETTINGS", `${name} must be an object of names, each with ${what}; found ${found}`);
  };
  if (typeof pattern !== "object" || Array.isArray(pattern)) fail(JSON.stringify(pattern).slice(0, 200));
  for (const [key, value] of Object.entries(pattern)) {
    if (typeof value !== "number" || !valid(value)) fail(JSON.stringify({ [key]: value }).slice(0, 200));
  }
}
