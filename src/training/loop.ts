import type { AdapterModule, EngineAdapter, EngineTrainer, Ranks } from "../engine/engine.ts";
import { CodedError } from "../errors/index.ts";
import { shareOf } from "./distributed/share.ts";
import type { Example } from "./examples.ts";
import { packExamples } from "./packing.ts";
import { learningRate, type Plan } from "./plan.ts";
import { type Evaluation, isWorthPrinting, type Progress, progressLine, type StepRecord } from "./progress.ts";
import { permutation, RandomStream } from "./random.ts";

/** alpaca-lora's eval_steps; an epoch's end is always evaluated. */
const stepsBetweenEvaluations = 200;

const adamW = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const;

export interface TrainingOutcome {
  /** With a validation set the best by its loss, else the last. */
  readonly modules: AdapterModule[];
  readonly steps: StepRecord[];
  readonly evaluations: Evaluation[];
  readonly tokensPerSecond: number;
}

/** What the steps need to know of a run. */
export interface LoopSettings {
  /** The processes that share the work, all given the same run; each gets the same result. Rank 0 alone logs. */
  readonly ranks: Ranks;
  /** "file": rows in the order of the file, every epoch. */
  readonly order?: "shuffled" | "file";
  readonly signal?: AbortSignal;
  readonly log?: (line: string) => void;
  readonly onProgress?: (progress: Progress) => void;
}

/** The steps of one run, in order. With several ranks each does its share of a step; what is recorded is of all. */
export class TrainingLoop {
  readonly #run: LoopSettings;
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

  constructor(run: LoopSettings, plan: Plan, adapter: EngineAdapter, trainer: EngineTrainer) {
    this.#run = run;
    this.#plan = plan;
    this.#adapter = adapter;
    this.#trainer = trainer;
    this.#maxTokens = plan.settings.micro_batch_size * plan.settings.cutoff_len;
  }

  async run(training: readonly Example[], validation: readonly Example[]): Promise<TrainingOutcome> {
    const { order } = this.#run;
    const { settings, stepsPerEpoch } = this.#plan;
    const { batch_size: batchRows } = settings;
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
    const { ranks, signal, log, onProgress } = this.#run;
    const { settings } = this.#plan;
    const started = performance.now();
    const done = this.#steps.length;
    const targets = examples.reduce((sum, example) => sum + example.targets, 0);
    const dropout = { probability: settings.lora_dropout, seed: settings.seed };
    let [lossSum, tokens] = [0, 0];
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
    const loss = lossSum / targets;
    this.#checkFinite("loss", loss);
    const rate = learningRate(done, this.#plan);
    const { weight_decay: weightDecay, max_grad_norm: maxGradNorm } = settings;
    const { gradNorm } = await this.#trainer.update({ ...adamW, learningRate: rate, weightDecay, maxGradNorm });
    this.#checkFinite("gradient", gradNorm);
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
    const evaluation = { step: this.#steps.length, loss: lossSum / targets };
    this.#checkFinite("validation loss", evaluation.loss);
    this.#evaluations.push(evaluation);
    this.#run.log?.(`validation loss ${evaluation.loss.toFixed(4)} after step ${evaluation.step}`);
    if (evaluation.loss < (this.#best?.loss ?? Number.POSITIVE_INFINITY)) {
      this.#best = { loss: evaluation.loss, modules: await this.#adapter.read() };
    }
  }
}
