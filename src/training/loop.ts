import type { AdapterModule, EngineAdapter, EngineTrainer, Ranks } from "../engine/engine.ts";
import { type RunCheckpoints, stoppedElsewhere } from "./checkpoint/run-checkpoints.ts";
import { onFirstRank } from "./distributed/first-rank.ts";
import { type EarlyStop, earlyStop, stopLine } from "./early-stopping.ts";
import { epochOrder } from "./epoch-order.ts";
import { isEvaluated, validationLoss } from "./evaluation.ts";
import type { Example } from "./examples.ts";
import { requireFinite } from "./finite.ts";
import type { TrainingObserver } from "./observer.ts";
import { optimizerStep } from "./optimizer-step.ts";
import type { Plan } from "./plan.ts";
import type { Evaluation, Progress, StepRecord } from "./progress.ts";
import { newRunState, type RunState } from "./run-state.ts";
import { isSampled, keptSamples, type SampleRecord, type Sampler } from "./samples.ts";

export interface TrainingOutcome {
  /** With a validation set the best by its loss, else the last. */
  readonly modules: readonly AdapterModule[];
  readonly steps: StepRecord[];
  readonly evaluations: Evaluation[];
  readonly tokensPerSecond: number;
  /** Why the run ended before its last step; null where it did not. */
  readonly stopped: EarlyStop | null;
  /** Answers to the sample prompts at the start, by the adapter that is returned, and at the end. */
  readonly samples: readonly SampleRecord[];
}

/** What the steps need to know of a run. */
export interface LoopSettings {
  /** The processes that share the work, all given the same run; each gets the same result. Rank 0 alone logs. */
  readonly ranks: Ranks;
  /** "file": rows in the order of the file, every epoch. */
  readonly order?: "shuffled" | "file";
  readonly signal?: AbortSignal;
  readonly log?: (line: string) => void;
  readonly observers?: readonly TrainingObserver[];
  /** With a place for them an abort lets the step end and keeps it. */
  readonly checkpoints?: RunCheckpoints | undefined;
}

/** What the steps of one run work on. */
export interface LoopParts {
  readonly plan: Plan;
  readonly adapter: EngineAdapter;
  readonly trainer: EngineTrainer;
  readonly training: readonly Example[];
  readonly validation: readonly Example[];
  /** Answers the sample prompts, where there are some. */
  readonly sampler?: Sampler | null | undefined;
  /** Where to go on; a new run by default. The adapter and the trainer are those of that moment. */
  readonly state?: RunState | undefined;
}

/** The steps of one run, in order. With several ranks each does its share of a step; what is recorded is of all. */
export class TrainingLoop {
  readonly #run: LoopSettings;
  readonly #parts: LoopParts;
  readonly #state: RunState;
  #epoch: { readonly number: number; readonly examples: readonly Example[] } | null = null;

  constructor(run: LoopSettings, parts: LoopParts) {
    this.#run = run;
    this.#parts = parts;
    this.#state = parts.state ?? newRunState();
  }

  async run(): Promise<TrainingOutcome> {
    const { plan, adapter } = this.#parts;
    const { steps, evaluations } = this.#state;
    for (const observer of this.#run.observers ?? []) observer.begin?.(plan.steps);
    // A run may go on from before an evaluation, or from the one that ended it.
    await this.#evaluateAndKeep();
    let stopped = this.#stop();
    while (steps.length < plan.steps && stopped === null) {
      const isInterrupted = await this.#step();
      if (isInterrupted) await this.#interrupt();
      await this.#evaluateAndKeep();
      stopped = this.#stop();
    }
    if (this.#endsWhole && this.#run.signal?.aborted) await this.#interrupt();
    if (stopped !== null) this.#run.log?.(stopLine(stopped));
    for (const observer of this.#run.observers ?? []) observer.end?.();
    const modules = this.#state.best?.modules ?? (await adapter.read());
    const { tokens, seconds, samples } = this.#state;
    return { modules, steps, evaluations, tokensPerSecond: tokens / seconds, stopped, samples };
  }

  /** Whether a rank was told to stop meanwhile, the same on all of them. */
  async #step(): Promise<boolean> {
    const { plan, trainer } = this.#parts;
    const { ranks, signal, observers, checkpoints } = this.#run;
    const started = performance.now();
    const isWhole = checkpoints?.isKept === true;
    const options = { plan, trainer, ranks, signal, isWhole };
    const { isStopped, ...record } = await optimizerStep(this.#examples(), this.#state, options);
    this.#state.steps.push(record);
    this.#state.tokens += record.tokens;
    const seconds = (performance.now() - started) / 1000;
    this.#state.seconds += seconds;
    const progress = this.#progress(record, seconds);
    for (const observer of observers ?? []) observer.step?.(progress);
    return (isWhole && isStopped) || (this.#endsWhole && signal?.aborted === true);
  }

  /** An abort ends the run between two steps, and is this rank's own affair: the others learn of it in their next step. */
  get #endsWhole(): boolean {
    return this.#run.checkpoints?.isKept === true && this.#run.ranks.size === 1;
  }

  /** Of what is done between two steps: other ranks wait for this one's part of it, so that it is not cut short. */
  get #signalBetweenSteps(): AbortSignal | undefined {
    return this.#run.checkpoints?.isKept && this.#run.ranks.size > 1 ? undefined : this.#run.signal;
  }

  /** Keeps the step. @throws the signal's reason; TRAINING_INTERRUPTED on ranks that were not told to stop */
  async #interrupt(): Promise<never> {
    const { checkpoints, signal } = this.#run;
    await checkpoints?.after({ state: this.#state, isEvaluation: false, isStopping: true });
    signal?.throwIfAborted();
    throw stoppedElsewhere(this.#state.steps.length);
  }

  /** Between two steps: evaluates and asks where it is time to, and keeps the run. */
  async #evaluateAndKeep(): Promise<void> {
    const { validation, plan } = this.#parts;
    const { signal, checkpoints } = this.#run;
    const done = this.#state.steps.length;
    const isEvaluation = done > 0 && isEvaluated(done, plan);
    const isPending = isEvaluation && validation.length > 0 && this.#state.evaluations.at(-1)?.step !== done;
    try {
      if (isPending) await this.#evaluate();
      await this.#sample();
    } catch (error) {
      if (this.#endsWhole && signal?.aborted) await this.#interrupt();
      throw error;
    }
    await checkpoints?.after({ state: this.#state, isEvaluation, isStopping: false });
  }

  /** Those of the next step. */
  #examples(): readonly Example[] {
    const { stepsPerEpoch, settings } = this.#parts.plan;
    const done = this.#state.steps.length;
    const number = Math.floor(done / stepsPerEpoch);
    if (this.#epoch?.number !== number) this.#epoch = { number, examples: this.#ordered(number) };
    const start = (done % stepsPerEpoch) * settings.batch_size;
    return this.#epoch.examples.slice(start, start + settings.batch_size);
  }

  #ordered(epoch: number): readonly Example[] {
    const { training, plan } = this.#parts;
    return epochOrder(training, { seed: plan.settings.seed, order: this.#run.order, epoch });
  }

  #progress(record: StepRecord, seconds: number): Progress {
    const { steps, stepsPerEpoch } = this.#parts.plan;
    const { tokens, seconds: all } = this.#state;
    const secondsLeft = (all / record.step) * (steps - record.step);
    const epoch = record.step / stepsPerEpoch;
    return { ...record, seconds, steps, epoch, tokensPerSecond: tokens / all, secondsLeft };
  }

  #stop(): EarlyStop | null {
    return earlyStop(this.#state, this.#parts.plan);
  }

  async #evaluate(): Promise<void> {
    const { trainer, validation, adapter, plan } = this.#parts;
    const { ranks, observers } = this.#run;
    const signal = this.#signalBetweenSteps;
    const step = this.#state.steps.length;
    const loss = await validationLoss(validation, { trainer, settings: plan.settings, ranks, signal });
    requireFinite("validation loss", loss, step);
    const evaluation = { step, loss };
    this.#state.evaluations.push(evaluation);
    for (const observer of observers ?? []) observer.evaluation?.(evaluation);
    if (loss < (this.#state.best?.loss ?? Number.POSITIVE_INFINITY)) {
      this.#state.best = { ...evaluation, modules: await adapter.read() };
    }
  }

  /** Where it is time to: rank 0 answers the sample prompts. Ones that fail after the first time end no run. */
  async #sample(): Promise<void> {
    const { sampler, trainer, adapter, plan, validation } = this.#parts;
    const { ranks, observers, log } = this.#run;
    const signal = this.#signalBetweenSteps;
    const [state, step] = [this.#state, this.#state.steps.length];
    const isDue = isSampled(step, plan, validation.length > 0) && state.samples.at(-1)?.step !== step;
    if (!sampler || !isDue) return;
    const answers = () =>
      sampler.answers(adapter, signal).catch((error: unknown) => {
        if (step === 0 || signal?.aborted) throw error;
        log?.(`sample prompts failed after step ${step}: ${error instanceof Error ? error.message : String(error)}`);
        return [];
      });
    const samples = (await onFirstRank(trainer, ranks, answers)) ?? [];
    state.samples = keptSamples([...state.samples, { step, samples }], state.best);
    if (samples.length > 0) for (const observer of observers ?? []) observer.samples?.({ step, samples });
  }
}
