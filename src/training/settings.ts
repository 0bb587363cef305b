import { type LinearName, linearNames } from "../engine/config.ts";
import { CodedError } from "../errors/index.ts";
import { checkTemplateName } from "../llama/prompt/index.ts";

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
  readonly lora_target_modules: readonly LinearName[];
  readonly train_on_inputs: boolean;
  readonly prompt_template_name: string;
  /** A file with a template, instead of a name. */
  readonly prompt_template?: { readonly path: string; readonly name?: string } | null;
  readonly seed: number;
  readonly warmup_steps: number;
  readonly weight_decay: number;
  /** 0 is off. */
  readonly max_grad_norm: number;
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
  const targets = settings.lora_target_modules;
  const known = targets.every((name) => linearNames.includes(name)) && new Set(targets).size === targets.length;
  if (targets.length === 0 || !known)
    fail("lora_target_modules", `a list of some of ${linearNames.join(", ")}, each once`);
  checkTemplateName(settings.prompt_template_name);
}
