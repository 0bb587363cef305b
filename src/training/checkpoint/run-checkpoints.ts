import { basename, join } from "node:path";
import type { LlamaConfig } from "../../engine/config.ts";
import type { AdapterModule, EngineAdapter, EngineTrainer, Ranks } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import type { AdapterToWrite } from "../../llama/adapter/index.ts";
import { adapterBytes } from "../adapter-layout.ts";
import { onFirstRank } from "../distributed/first-rank.ts";
import type { RunState } from "../run-state.ts";
import { HistoryLines } from "./history.ts";
import type { Identity } from "./identity.ts";
import { newRunName, stepName } from "./names.ts";
import { openPlace, removeOld, sweep } from "./place.ts";
import { type FoundCheckpoint, type Resumed, type ResumeOptions, readCheckpoint } from "./read.ts";
import { writeCheckpoint } from "./write.ts";

export interface CheckpointOptions {
  /** Folder of all runs; null: nothing is kept, the run can only go on from a checkpoint. */
  readonly root: string | null;
  readonly identity: Identity;
  readonly version: string;
  /** Steps between two; 0: at each evaluation, or where one would be. */
  readonly saveSteps: number;
  /** Checkpoints of the run that are kept. */
  readonly saveTotalLimit: number;
  /** Where the run goes on. */
  readonly resumed: FoundCheckpoint | null;
  readonly log: (line: string) => void;
  /** Told the name of every checkpoint that is whole. */
  readonly onSaved?: (name: string) => void;
}

/** What of a run its checkpoints are made of. */
export interface Kept {
  /** Where it began: an adapter of the same size. */
  readonly initial: readonly AdapterModule[];
  readonly adapter: EngineAdapter;
  readonly trainer: EngineTrainer;
  readonly ranks: Ranks;
  readonly model: LlamaConfig;
  readonly agreement: string;
  /** Steps of the whole run. */
  readonly steps: number;
  readonly written: Omit<AdapterToWrite, "modules">;
}

/** Where a run stands, between two steps. */
export interface Moment {
  readonly state: RunState;
  /** It has been evaluated, or would have been with validation rows. */
  readonly isEvaluation: boolean;
  /** The run ends here. */
  readonly isStopping: boolean;
}

/** Without save_steps, saving takes at most this share of a run's time. */
const largestShare = 0.05;

/** The checkpoints of one run: the one that it goes on from, and those it leaves. */
export class RunCheckpoints {
  readonly #options: CheckpointOptions;
  readonly #history = new HistoryLines();
  /** The run's folder. */
  readonly #run: string | null;
  #kept: Kept | null = null;
  /** Steps that were done at the last attempt. */
  #tried = 0;
  #saved: { readonly step: number; readonly at: number; readonly took: number } | null = null;

  constructor(options: CheckpointOptions) {
    const { root, resumed } = options;
    this.#options = options;
    this.#run = root === null ? null : (resumed?.run ?? join(root, newRunName()));
  }

  /** The run's steps are finished, and then kept, before an abort ends it. */
  get isKept(): boolean {
    return this.#run !== null;
  }

  /** What all ranks must have in common. */
  get together(): unknown {
    const { saveSteps, resumed } = this.#options;
    return [this.isKept, saveSteps, resumed?.state.step ?? null, resumed?.state.files ?? null];
  }

  /** Where to go on; null for a new run. @throws TRAINING_CHECKPOINT, TRAINING_RESUME */
  async resume(options: ResumeOptions): Promise<Resumed | null> {
    const { resumed, log } = this.#options;
    if (resumed === null) return null;
    const result = await readCheckpoint(resumed, options);
    // What it goes on from is kept already.
    if (resumed.run !== null) {
      this.#tried = resumed.state.step;
      this.#saved = { step: resumed.state.step, at: performance.now(), took: 0 };
    }
    log(`Going on from ${resumed.name}: ${result.state.steps.length} of ${options.steps} steps are done`);
    return result;
  }

  /** Makes sure of the folder before the first step; on all ranks. @throws TRAINING_OUTPUT */
  async open(kept: Kept): Promise<void> {
    this.#kept = kept;
    const [root, run] = [this.#options.root, this.#run];
    if (root === null || run === null) return;
    await onFirstRank(kept.trainer, kept.ranks, async () => {
      await sweep(root);
      // Its tensors, two moments and the best adapter.
      await openPlace(root, run, 4 * adapterBytes(kept.initial));
    });
  }

  /** After every step, on all ranks: saves where it is time to. A checkpoint that cannot be written is said, and the run goes on. */
  async after(moment: Moment): Promise<void> {
    const kept = this.#kept!;
    if (this.#run === null) return;
    if (!this.#mayBeDue(moment)) {
      if (moment.isStopping && this.#saved !== null) this.#tellPlace(this.#saved.step);
      return;
    }
    const { ranks, trainer } = kept;
    // Only rank 0 knows the time; each knows how many micro-batches were its own.
    const values = new Float64Array(1 + ranks.size);
    if (ranks.rank === 0 && this.#isDue(moment)) values[0] = 1;
    values[1 + ranks.rank] = moment.state.microBatches;
    const [isDue, ...microBatches] = await trainer.sum(values);
    if (isDue === 0) return;
    await onFirstRank(trainer, ranks, () => this.#save(this.#run!, moment, microBatches));
    // On all ranks, so that all know when the next one may be due; where it failed too.
    this.#tried = moment.state.steps.length;
  }

  #mayBeDue({ state, isEvaluation, isStopping }: Moment): boolean {
    const { saveSteps } = this.#options;
    const done = state.steps.length;
    if (done === 0 || this.#tried === done) return false;
    if (isStopping) return true;
    return saveSteps > 0 ? done % saveSteps === 0 : isEvaluation;
  }

  #isDue({ state, isStopping }: Moment): boolean {
    if (isStopping || this.#options.saveSteps > 0 || this.#saved === null) return true;
    const isLast = state.steps.length === this.#kept!.steps;
    return isLast || (performance.now() - this.#saved.at) * largestShare >= this.#saved.took;
  }

  async #save(run: string, moment: Moment, microBatches: readonly number[]): Promise<void> {
    const { log, onSaved, saveTotalLimit } = this.#options;
    const started = performance.now();
    const step = moment.state.steps.length;
    const name = stepName(step);
    const shown = `${basename(run)}/${name}`;
    try {
      await this.#write(join(run, name), moment.state, microBatches);
    } catch (error) {
      const kept = this.#saved === null ? "there is none yet" : `the last one is after step ${this.#saved.step}`;
      log(`WARNING: no checkpoint after step ${step}: ${(error as Error).message}; ${kept}`);
      return;
    }
    const at = performance.now();
    this.#saved = { step, at, took: at - started };
    onSaved?.(shown);
    if (moment.isStopping) this.#tellPlace(step);
    await removeOld(run, saveTotalLimit).catch((error: Error) =>
      log(`WARNING: old checkpoints stay: ${error.message}`),
    );
  }

  #tellPlace(step: number): void {
    const { root, log } = this.#options;
    const shown = `${basename(this.#run!)}/${stepName(step)}`;
    log(`Checkpoint ${shown} in ${root}; resume_from_checkpoint=${shown} goes on from it`);
  }

  async #write(folder: string, state: RunState, microBatches: readonly number[]): Promise<void> {
    const { adapter, trainer, model, written, agreement, steps } = this.#kept!;
    const { identity, version } = this.#options;
    const modules = await adapter.read();
    const { lossScale, ...optimizer } = await trainer.optimizerState();
    const step = state.steps.length;
    const isCurrent = state.best?.step === step;
    await writeCheckpoint(
      folder,
      {
        adapter: { ...written, modules },
        optimizer: { ...optimizer, lossScale },
        best: state.best === null || isCurrent ? null : state.best.modules,
        history: this.#history.encode(state),
        samples: state.samples,
        state: {
          format: 1,
          version,
          created: new Date().toISOString(),
          step,
          steps,
          identity,
          agreement,
          microBatches,
          tokens: state.tokens,
          seconds: state.seconds,
          best: state.best && { step: state.best.step, loss: state.best.loss, isCurrent },
          optimizer: { steps: optimizer.steps, lossScale: lossScale.value, steadySteps: lossScale.steadySteps },
        },
      },
      model,
    );
  }
}

/** What ends the ranks whose own run was not stopped. */
export function stoppedElsewhere(step: number): CodedError {
  return new CodedError("TRAINING_INTERRUPTED", `another rank was stopped after step ${step}`, {
    hint: "The run's checkpoint is whole; resume_from_checkpoint=last on all ranks goes on from it.",
  });
}

export function checkpointsFolder(env: NodeJS.ProcessEnv): string | null {
  const { LLAMA_CHECKPOINTS: told, COG_OUTPUT_DIR: output } = env;
  if (told === "off") return null;
  if (told) return told;
  // A command's own; a server keeps none unless told.
  return output ? join(output, "checkpoints") : null;
}
