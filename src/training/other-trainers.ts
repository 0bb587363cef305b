import { CodedError } from "../errors/index.ts";
import type { Given } from "./plan.ts";
import type { TrainingSettings } from "./settings.ts";

const wandb =
  "nothing is sent anywhere; each step's loss is a metric of the run, and a line of metrics.jsonl in the archive";
const packed = "leave it out: rows are always packed, and none of them sees another";
const base = "the base is what LLAMA_WEIGHTS names, a folder or a file";

/** Inputs of alpaca-lora's finetune.py and of Replicate's trainers that are none here, each with what to use instead. */
export const refusedNames = {
  base_model: base,
  local_model_path: base,
  output_dir: "name the archive with -o, as in cog train -o adapter.tar.gz",
  wandb_project: wandb,
  wandb_run_name: wandb,
  wandb_watch: wandb,
  wandb_log_model: wandb,
  validation_batch_size:
    "leave it out: validation rows are packed as the others, micro_batch_size times cutoff_len tokens",
  pack_sequences: packed,
  wrap_packed_sequences: packed,
  chunk_size: "give cutoff_len, the longest row, and micro_batch_size, rows of that length in memory at once",
  peft_method: "leave it out: what is trained is LoRA; for a quantised base let LLAMA_WEIGHTS name a GGUF file",
  fake_output: "leave it out: it is for tests of Replicate's own trainers",
} as const;

/** Inputs of those trainers that say in other words what settings here say. */
export interface OtherInputs {
  /** Micro-batches of a step. */
  readonly gradient_accumulation_steps?: number | null;
  readonly run_validation?: boolean | null;
  readonly group_by_length?: boolean | null;
}

export interface OwnSettings {
  readonly settings: TrainingSettings;
  readonly given: Given;
  /** What had no meaning, a line each. */
  readonly notes: readonly string[];
}

/** @throws TRAINING_SETTINGS where two of them contradict each other */
export function ownSettings(inputs: TrainingSettings & OtherInputs, given: Given): OwnSettings {
  const { gradient_accumulation_steps, run_validation = null, group_by_length, ...settings } = inputs;
  const batches = accumulated(settings, gradient_accumulation_steps ?? null, given);
  const validation = validated(settings, run_validation, given);
  const notes = group_by_length ? ["group_by_length has no meaning here: rows are packed, so that none is padded"] : [];
  const chosen = { ...batches, ...validation };
  return { settings: { ...settings, ...chosen }, given: new Set([...given, ...Object.keys(chosen)]), notes };
}

/** batch_size is micro_batch_size times the steps; two of them give the third. */
function accumulated(settings: TrainingSettings, steps: number | null, given: Given) {
  if (steps === null) return {};
  const { batch_size, micro_batch_size } = settings;
  const product = steps * micro_batch_size;
  if (!given.has("batch_size")) return { batch_size: product };
  if (!given.has("micro_batch_size") && batch_size % steps === 0) return { micro_batch_size: batch_size / steps };
  if (given.has("micro_batch_size") && product === batch_size) return {};
  const found = given.has("micro_batch_size")
    ? `gradient_accumulation_steps ${steps} times micro_batch_size ${micro_batch_size} is ${product}, not batch_size ${batch_size}`
    : `batch_size ${batch_size} is no multiple of gradient_accumulation_steps ${steps}`;
  throw new CodedError("TRAINING_SETTINGS", found, { hint: "Give batch_size and micro_batch_size alone." });
}

function validated({ val_set_size }: TrainingSettings, runs: boolean | null, given: Given) {
  if (runs === null) return {};
  const isGiven = given.has("val_set_size");
  if (runs && isGiven && val_set_size === 0) refuse("run_validation true contradicts val_set_size 0");
  if (runs) return {};
  if (isGiven && val_set_size > 0) refuse(`run_validation false contradicts val_set_size ${val_set_size}`);
  if (given.has("validation_data")) refuse("run_validation false contradicts validation_data");
  return { val_set_size: 0 };
}

function refuse(message: string): never {
  throw new CodedError("TRAINING_SETTINGS", message, { hint: "Leave run_validation out: val_set_size=0 is none." });
}
