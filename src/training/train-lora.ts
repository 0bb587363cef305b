import type { AdapterModule, EngineModel } from "../engine/engine.ts";
import { CodedError } from "../errors/index.ts";
import type { AdapterToWrite } from "../llama/adapter/index.ts";
import type { Tokenizer } from "../llama/tokenizer/tokenizer.ts";
import type { Row } from "./dataset/index.ts";
import { agreementOf } from "./distributed/agreement.ts";
import { oneRank } from "./distributed/ranks.ts";
import { type Example, encodeExamples } from "./examples.ts";
import { initialAdapter } from "./initial-adapter.ts";
import { type LoopSettings, TrainingLoop } from "./loop.ts";
import { memoryLine } from "./memory-line.ts";
import { type Plan, planRun } from "./plan.ts";
import type { Evaluation, StepRecord } from "./progress.ts";
import { permutation, RandomStream } from "./random.ts";
import { checkSettings } from "./settings.ts";

/** By default one rank does all the work. */
export interface TrainingRun extends Omit<LoopSettings, "ranks">, Partial<Pick<LoopSettings, "ranks">> {
  /** The frozen base. */
  readonly base: { readonly model: EngineModel; readonly tokenizer: Tokenizer; readonly name: string };
  readonly rows: readonly Row[];
  /** Where to start; a new adapter by default. Its modules agree with the settings. */
  readonly initial?: readonly AdapterModule[];
}

export interface TrainingResult {
  /** With a validation set the best by its loss, as alpaca-lora has it; else the last. */
  readonly adapter: AdapterToWrite;
  readonly plan: Plan;
  readonly steps: readonly StepRecord[];
  readonly evaluations: readonly Evaluation[];
  readonly tokensPerSecond: number;
}

/**
 * Fine-tunes a LoRA adapter as alpaca-lora does: AdamW, linear warm-up and decay, the loss as the mean over the learnt
 * tokens of the whole optimiser step. The same rows, settings, engine and number of ranks give the same adapter, bit for
 * bit; another number of ranks changes the order of float32 sums and, where there is dropout, its masks.
 * @throws TRAINING_SETTINGS, TRAINING_DIVERGED, DATASET_EMPTY, PROMPT_TEMPLATE_UNKNOWN, DISTRIBUTED_*, and the signal's
 * reason
 */
export async function trainLora(given: TrainingRun): Promise<TrainingResult> {
  const { ranks = oneRank } = given;
  const run = { ...given, ranks, log: ranks.rank === 0 ? given.log : undefined };
  const { base, rows, settings, signal, log } = run;
  checkSettings(settings);
  const config = base.model.config;
  const plan = planRun(rows.length, config.maxPositionEmbeddings, settings);
  if (plan.adapted) log?.(plan.adapted);
  const examples = await encodeExamples(rows, base.tokenizer, { ...settings, cutoff: plan.cutoff, signal });
  reportOddRows(rows, examples, plan, log);
  const { training, validation } = split(examples, plan, run);

  const initial = run.initial ?? (await initialAdapter(config, settings, signal));
  const agreement = ranks.size > 1 ? agreementOf({ training, validation, settings, config, initial }) : "";
  const adapter = await base.model.createAdapter(initial);
  try {
    const trainer = await base.model.createTrainer(adapter, { ranks, agreement, signal });
    try {
      const all = training.reduce((sum, { tokens }) => sum + tokens.length, 0);
      const largest = Math.min(plan.cutoff * settings.micro_batch_size, all);
      const memory = await trainer.plan?.(Math.max(1, largest), settings.lora_dropout > 0);
      if (memory) log?.(memoryLine(memory));
      const outcome = await new TrainingLoop(run, plan, adapter, trainer).run(training, validation);
      await trainer.finish();
      const { lora_r: rank, lora_alpha: alpha, lora_dropout: dropout, lora_target_modules: targetModules } = settings;
      const { modules, ...records } = outcome;
      return { adapter: { modules, rank, alpha, dropout, targetModules, baseModel: base.name }, plan, ...records };
    } finally {
      await trainer.close();
    }
  } catch (error) {
    // A wait for another rank that an abort has ended fails with an error of the engine.
    signal?.throwIfAborted();
    throw error;
  } finally {
    await adapter.close();
  }
}

function reportOddRows(rows: readonly Row[], examples: readonly Example[], { cutoff }: Plan, log: TrainingRun["log"]) {
  const unlearnable = examples.filter(({ targets }) => targets === 0).length;
  if (unlearnable === examples.length) {
    throw new CodedError("DATASET_EMPTY", `none of the ${rows.length} rows has a token to learn within ${cutoff}`, {
      hint: "The prompts alone fill cutoff_len: set it higher, or train_on_inputs to true.",
    });
  }
  if (unlearnable > 0) log?.(`${unlearnable} of ${rows.length} rows teach nothing: their prompts fill cutoff_len`);
  const empty = rows.filter(({ output }) => output === "").length;
  if (empty > 0) log?.(`${empty} of ${rows.length} rows have an empty output: they teach to answer nothing`);
}

function split(examples: readonly Example[], plan: Plan, { settings, order }: TrainingRun) {
  const all = Array.from(
    order === "file"
      ? examples.keys()
      : permutation(examples.length, new RandomStream(settings.seed, "validation split")),
    (i) => examples[i]!,
  );
  return { validation: all.slice(0, plan.validationRows), training: all.slice(plan.validationRows) };
}
