import { stat } from "node:fs/promises";
import type { AdapterModule, Engine, EngineModel } from "../engine/engine.ts";
import type { AdapterToWrite } from "../llama/adapter/index.ts";
import type { Checkpoint } from "../llama/checkpoint/index.ts";
import type { TemplateModel, TemplateRecord } from "../llama/prompt/index.ts";
import type { Tokenizer } from "../llama/tokenizer/tokenizer.ts";
import { type AdapterLayout, layoutOf, peftLayout } from "./adapter-layout.ts";
import type { Row } from "./dataset/row.ts";
import { agreementOf, agreementOnStart } from "./distributed/agreement.ts";
import { onFirstRank } from "./distributed/first-rank.ts";
import { RankWaits } from "./distributed/rank-waits.ts";
import { oneRank } from "./distributed/ranks.ts";
import type { EarlyStop } from "./early-stopping.ts";
import type { Example } from "./examples.ts";
import { foretold } from "./foretold.ts";
import { initialAdapter } from "./initial-adapter.ts";
import { logLines } from "./log-lines.ts";
import { type LoopSettings, TrainingLoop } from "./loop.ts";
import type { Given, Plan } from "./plan.ts";
import { type PreparedExamples, prepare } from "./prepare.ts";
import { probeOf } from "./probe.ts";
import type { Evaluation, StepRecord } from "./progress.ts";
import { summaryLines } from "./record/summary.ts";
import { type DryRun, dryRunOf } from "./report/dry-run.ts";
import type { SampleRecord } from "./samples.ts";
import { checkSettings, type TrainingSettings } from "./settings.ts";
import { startingAdapter } from "./starting-adapter.ts";

/** A frozen model, as Llama has it. */
export interface Base {
  readonly model: EngineModel;
  /** "cuda (...)" or another device, as its description begins. */
  readonly engine?: Pick<Engine, "description"> | undefined;
  readonly tokenizer: Tokenizer;
  readonly name: string;
  readonly checkpoint?: BaseFiles;
}

/** What is known of a model that lies in files. */
export interface BaseFiles extends Omit<TemplateModel, "tokenizer"> {
  readonly eosTokenIds: readonly number[];
  /** Where they lie: rows are encoded by threads that open the tokenizer there. */
  readonly folder?: string | undefined;
  /** Adapters that name another base get a warning. */
  readonly publishedName?: string | null;
  /** Where the model is one file. */
  readonly file?: string | null | undefined;
}

/** By default one rank does all the work. */
export interface TrainingRun extends Omit<LoopSettings, "ranks">, Partial<Pick<LoopSettings, "ranks">> {
  readonly base: Base;
  readonly rows: readonly Row[];
  /** To validate on, instead of some of the rows. */
  readonly validationRows?: readonly Row[] | null;
  readonly settings: TrainingSettings;
  /** Names of the settings that were chosen: honoured or refused. The others adapt. All by default. */
  readonly given?: Given;
  /** A file or folder with an adapter to start from: what openAdapter takes. */
  readonly adapter?: { readonly path: string; readonly name?: string } | null;
  /** What that adapter was trained with, for the template `auto`. */
  readonly recorded?: TemplateRecord | null;
  /** Where to start; a new adapter by default. Its modules agree with the layout. */
  readonly initial?: readonly AdapterModule[];
  /** Whether the log hears of steps; someone who is shown the run's metrics need not read them. True by default. */
  readonly logSteps?: boolean;
  /** What the adapter sits on; what the settings say by default. */
  readonly layout?: AdapterLayout;
  /** Opens the place of the adapter before the first step; of several ranks, rank 0 alone writes. */
  readonly output?: (initial: readonly AdapterModule[]) => Promise<TrainingOutput>;
}

export interface TrainingOutput {
  /** Returns the file. */
  write(result: TrainedAdapter): Promise<string>;
}

export interface TrainedAdapter {
  /** With a validation set the best by its loss, as alpaca-lora has it; else the last. */
  readonly adapter: AdapterToWrite;
  readonly plan: Plan;
  readonly steps: readonly StepRecord[];
  readonly evaluations: readonly Evaluation[];
  readonly tokensPerSecond: number;
  /** Why the run ended before its last step; null where it did not. */
  readonly stopped: EarlyStop | null;
  /** Answers to the sample prompts at the start, by this adapter, and at the end. */
  readonly samples: readonly SampleRecord[];
  /** Training rows to compare the adapter with its start on. */
  readonly probe: readonly Example[];
  /** Where it started. */
  readonly initial: readonly AdapterModule[];
}

export interface TrainingResult extends TrainedAdapter {
  /** What the output has written; null without one, and on all ranks but 0. */
  readonly file: string | null;
}

/**
 * Fine-tunes a LoRA adapter as alpaca-lora does: AdamW, linear warm-up and decay, the loss as the mean over the learnt
 * tokens of the whole optimiser step. The same rows, settings, engine and number of ranks give the same adapter, bit for
 * bit; another number of ranks changes the order of float32 sums and, where there is dropout, its masks.
 * @throws TRAINING_SETTINGS, TRAINING_DIVERGED, DATASET_EMPTY, PROMPT_*, ADAPTER_*, DISTRIBUTED_*, the signal's reason,
 * TRAINING_CHECKPOINT and TRAINING_RESUME, and what the output throws, on all ranks
 */
export async function trainLora(given: TrainingRun): Promise<TrainingResult> {
  const run = await startedRun(given);
  try {
    return await trainExamples(run, await prepare(run));
  } finally {
    for (const observer of run.observers) observer.close?.();
  }
}

/**
 * The part of trainLora before anything needs the weights: its report, and two examples token by token.
 * @param given its base may be baseWithoutWeights
 * @throws what trainLora throws of its rows and settings
 */
export async function dryRun(given: TrainingRun, { weights }: Pick<Checkpoint, "weights">): Promise<DryRun> {
  const run = await startedRun(given);
  return dryRunOf(await prepare(run), run, weights);
}

async function startedRun(given: TrainingRun) {
  const { ranks = oneRank } = given;
  const log = ranks.rank === 0 ? given.log : undefined;
  const observers = [...(log ? [logLines(log, { steps: given.logSteps })] : []), ...(given.observers ?? [])];
  checkSettings(given.settings);
  return { ...given, ranks, log, observers, ...(await startOf(given, log)) };
}

/** From the adapter to start from, where there is one; its log lines are written. */
async function startOf(
  { adapter, base, settings, given, signal }: TrainingRun,
  log: LoopSettings["log"],
): Promise<Pick<TrainingRun, "settings" | "initial" | "layout" | "recorded"> | null> {
  if (!adapter) return null;
  const chosen = given ?? new Set(Object.keys(settings));
  const { notes, ...start } = await startingAdapter(adapter, { base, settings, given: chosen, signal });
  for (const note of notes) log?.(note);
  return start;
}

/** The part of trainLora behind its rows and settings: from the first step to the adapter. */
export async function trainExamples(
  run: LoopSettings & Pick<TrainingRun, "base" | "initial" | "layout" | "output" | "given">,
  prepared: PreparedExamples,
): Promise<TrainingResult> {
  const { base, ranks, signal, log, checkpoints } = run;
  const { training, validation, sampler, promptTemplate } = prepared;
  const config = base.model.config;
  const layout = run.layout ?? layoutOf(config, prepared.plan.settings);
  const initial = run.initial ?? (await initialAdapter(config, layout, prepared.plan.settings.seed, signal));
  const plan = await foretold(run, prepared, initial);
  const { settings } = plan;
  const common = { training, validation, settings, config, initial };
  const agreement = ranks.size > 1 || checkpoints !== undefined ? agreementOf(common) : "";
  const resumed = await checkpoints?.resume({ initial, agreement, steps: plan.steps, ranks, model: config });
  const adapter = await base.model.createAdapter(resumed?.modules ?? initial);
  try {
    const waits = new RankWaits(signal);
    const met = ranks.size > 1 ? agreementOnStart(agreement, checkpoints) : "";
    const trainer = await base.model.createTrainer(adapter, { ranks, agreement: met, signal: waits.signal });
    try {
      if (resumed) await trainer.restoreOptimizer(resumed.optimizer);
      const output = await onFirstRank(trainer, ranks, async () => run.output?.(initial));
      const about = { dropout: settings.lora_dropout, baseModel: base.name, promptTemplate };
      const written = { ...peftLayout(layout, config), ...about };
      await checkpoints?.open({
        initial,
        adapter,
        trainer,
        ranks,
        model: config,
        agreement,
        steps: plan.steps,
        written,
      });
      const parts = { plan, adapter, trainer, training, validation, sampler, state: resumed?.state };
      const loop = new TrainingLoop(run, parts);
      // Where a step is finished after an abort its waits for other ranks are too.
      const { modules, ...records } = await (checkpoints?.isKept ? waits.throughout(loop.run()) : loop.run());
      const trained = { modules, ...written };
      const result = { adapter: trained, plan, ...records, probe: probeOf(training), initial };
      // What was written is scored, which takes memory too.
      await trainer.releaseActivations();
      const file = (await onFirstRank(trainer, ranks, async () => output?.write(result))) ?? null;
      await trainer.finish().catch((error: unknown) => {
        // A rank that has gone now takes nothing away from a file that is whole.
        if (file === null) throw error;
      });
      // An output may hand its file on at once.
      const size =
        file === null
          ? undefined
          : await stat(file).then(
              (found) => found.size,
              () => undefined,
            );
      for (const line of summaryLines(result, size)) log?.(line);
      return { ...result, file };
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
