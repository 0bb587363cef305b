import type { AdapterModule, EngineAdapter, EngineModel, EngineTrainer, Ranks } from "../engine/engine.ts";
import { CodedError } from "../errors/index.ts";
import type { AdapterToWrite } from "../llama/adapter/index.ts";
import type { Tokenizer } from "../llama/tokenizer/tokenizer.ts";
import type { Row } from "./dataset/index.ts";
import { agreementOf } from "./distributed/agreement.ts";
import { oneRank } from "./distributed/ranks.ts";
import { shareOf } from "./distributed/share.ts";
import { type Example, encodeExamples } from "./examples.ts";
import { initialAdapter } from "./initial-adapter.ts";
import { memoryLine } from "./memory-line.ts";
import { packExamples } from "./packing.ts";
import { learningRate, type Plan, planRun } from "./plan.ts";
import { type Evaluation, isWorthPrinting, type Progress, progressLine, type StepRecord } from "./progress.ts";
import { permutation, RandomStream } from "./random.ts";
import { checkSettings, type TrainingSettings } from "./settings.ts";

export interface TrainingRun {
  /** The frozen base. */
  readonly base: { readonly model: EngineModel; readonly tokenizer: Tokenizer; readonly name: string };
  readonly rows: readonly Row[];
  readonly settings: TrainingSettings;
  /** Where to start; a new adapter by default. Its modules agree with the settings. */
  readonly initial?: readonly AdapterModule[];
  /** "file": rows in the order of the file, every epoch. */
  readonly order?: "shuffled" | "file";
  /** The processes that share the work, all given the same run; each gets the same result. Rank 0 alone logs. */
  readonly ranks?: Ranks;
  readonly signal?: AbortSignal;
  readonly log?: (line: string) => void;
  readonly onProgress?: (progress: Progress) => void;
}

export interface TrainingResult {
  /** With a validation set the best by its loss, as alpaca-lora has it; else the last. */
  readonly adapter: AdapterToWrite;
  readonly plan: Plan;
  readonly steps: readonly StepRecord[];
  readonly evaluations: readonly Evaluation[];
  readonly tokensPerSecond: number;
}

/** alpaca-lora's eval_steps; an epoch's end is always evaluated. */
const stepsBetweenEvaluations = 200;

const adamW = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const;

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
      const outcome = await new Loop(run, plan, adapter, trainer).run(training, validation);
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

interface Outcome {
  readonly modules: AdapterModule[];
  readonly steps: StepRecord[];
  readonly evaluations: Evaluation[];
  readonly tokensPerSecond: number;
}

type RankedRun = TrainingRun & { readonly ranks: Ranks };

/** The steps of one run, in order. With several ranks each does its share of a step; what is recorded is of all. */
class Loop {
  readonly #run: RankedRun;
  readonly #plan: Plan;
  readonly #adapter: EngineAdapter;
  readonly #trainer: EngineTrainer;
  readonly #maxTokens: number;
  readonly #steps: StepRecord[] = [];
  readonly #evaluations: Evaluation[] = [];
  #best: { loss: number; modules: AdapterModule[] } | null = null;
  #microBatches = 0;
  #tokens = 0;
  #seconds = 0;

  constructor(run: RankedRun, plan: Plan, adapter: EngineAdapter, trainer: EngineTrainer) {
    this.#run = run;
    this.#plan = plan;
    this.#adapter = adapter;
    this.#trainer = trainer;
    this.#maxTokens = run.settings.micro_batch_size * plan.cutoff;
  }

  async run(training: readonly Example[], validation: readonly Example[]): Promise<Outcome> {
    const { settings, order } = this.#run;
    const { batchRows, stepsPerEpoch } = this.#plan;
    for (let epoch = 0; epoch < settings.num_epochs; epoch++) {
      const shuffled = permutation(training.length, new RandomStream(settings.seed, "shuffle", epoch));
      const rows = order === "file" ? training : Array.from(shuffled, (i) => training[i]!);
      for (let i = 0; i < stepsPerEpoch; i++) {
        await this.#step(rows.slice(i * batchRows, (i + 1) * batchRows));
        const due = this.#steps.length % stepsBetweenEvaluations === 0 || i === stepsPerEpoch - 1;
        if (due && validation.length > 0) await this.#evaluate(validation);
      }
    }
    const modules = this.#best?.modules ?? (await this.#adapter.read());
    const tokensPerSecond = this.#tokens / this.#seconds;
    return { modules, steps: this.#steps, evaluations: this.#evaluations, tokensPerSecond };
  }

  async #step(examples: readonly Example[]): Promise<void> {
    const { settings, ranks, signal, log, onProgress } = this.#run;
    const started = performance.now();
    const done = this.#steps.length;
    const targets = examples.reduce((sum, example) => sum + example.targets, 0);
    const dropout = { probability: settings.lora_dropout, seed: settings.seed };
    let [lossSum, tokens, gradNorm] = [0, 0, 0];
    for (const batch of packExamples(shareOf(examples, ranks), this.#maxTokens)) {
      signal?.throwIfAborted();
      // No two ranks draw the same mask.
      const step = this.#microBatches++ * ranks.size + ranks.rank;
      const { loss } = await this.#trainer.accumulate(
        batch,
        1 / targets,
        settings.lora_dropout > 0 ? { ...dropout, step } : null,
      );
      lossSum += loss;
      tokens += batch.tokens.length;
    }
    signal?.throwIfAborted();
    [lossSum, tokens] = await this.#sum(lossSum, tokens);
    const loss = targets > 0 ? lossSum / targets : 0;
    this.#checkFinite("loss", loss);
    const rate = learningRate(done, this.#plan, settings.learning_rate);
    if (targets > 0) {
      const { weight_decay: weightDecay, max_grad_norm: maxGradNorm } = settings;
      ({ gradNorm } = await this.#trainer.update({ ...adamW, learningRate: rate, weightDecay, maxGradNorm }));
      this.#checkFinite("gradient", gradNorm);
    }
    const record = { step: done + 1, loss, gradNorm, learningRate: rate, tokens };
    this.#steps.push(record);
    this.#tokens += tokens;
    this.#seconds += (performance.now() - started) / 1000;
    const progress = this.#progress(record);
    onProgress?.(progress);
    if (isWorthPrinting(progress)) log?.(progressLine(progress));
  }

  async #sum(first: number, second: number): Promise<[number, number]> {
    const [a, b] = await this.#trainer.sum(Float64Array.of(first, second));
    return [a!, b!];
  }

  #progress(record: StepRecord): Progress {
    const { steps } = this.#plan;
    const secondsLeft = (this.#seconds / record.step) * (steps - record.step);
    return { ...record, steps, tokensPerSecond: this.#tokens / this.#seconds, secondsLeft };
  }

  #checkFinite(what: string, value: number): void {
    if (Number.isFinite(value)) return;
    const step = this.#steps.length + 1;
    throw new CodedError("TRAINING_DIVERGED", `step ${step}: the ${what} is ${value}`, {
      hint: "Try a lower learning_rate, or a max_grad_norm of 1.",
    });
  }

  async #evaluate(validation: readonly Example[]): Promise<void> {
    let [lossSum, targets] = [0, 0];
    for (const batch of packExamples(shareOf(validation, this.#run.ranks), this.#maxTokens)) {
      this.#run.signal?.throwIfAborted();
      const sum = await this.#trainer.evaluate(batch);
      lossSum += sum.loss;
      targets += sum.targets;
    }
    [lossSum, targets] = await this.#sum(lossSum, targets);
    if (targets === 0) return;
    const evaluation = { step: this.#steps.length, loss: lossSum / targets };
    this.#checkFinite("validation loss", evaluation.loss);
    this.#evaluations.push(evaluation);
    this.#run.log?.(`validation loss ${evaluation.loss.toFixed(4)} after step ${evaluation.step}`);
    if (evaluation.loss < (this.#best?.loss ?? Number.POSITIVE_INFINITY)) {
      this.#best = { loss: evaluation.loss, modules: await this.#adapter.read() };
    }
  }
}
