import type { LlamaConfig } from "../../engine/config.ts";
import type { AdapterModule, OptimizerState, Ranks } from "../../engine/engine.ts";
import type { RunState } from "../run-state.ts";
import { checkDigests } from "./digests.ts";
import { readHistory, readSamples, samplesName } from "./history.ts";
import { damaged, mismatch } from "./refusal.ts";
import { type CheckpointState, readState, stateName } from "./state-file.ts";
import { adapterTensors, bestName, readModules, readMoments } from "./tensors.ts";

/** A checkpoint that has been found; its tensors are not read yet. */
export interface FoundCheckpoint {
  readonly folder: string;
  /** In messages, and as the run's owner can ask for it: "20261130-195323-4f2a91/step-000120". */
  readonly name: string;
  /** The run's folder, where it goes on; null for one from an archive. */
  readonly run: string | null;
  readonly state: CheckpointState;
}

/** @throws TRAINING_CHECKPOINT where it is not whole */
export async function openCheckpoint(
  folder: string,
  name: string,
  { run = null, signal }: { run?: string | null; signal?: AbortSignal | undefined } = {},
): Promise<FoundCheckpoint> {
  const state = await readState(folder, name);
  await checkDigests(folder, name, state.files, signal);
  return { folder, name, run, state };
}

/** What a run goes on from. */
export interface Resumed {
  readonly modules: AdapterModule[];
  readonly optimizer: OptimizerState;
  readonly state: RunState;
}

export interface ResumeOptions {
  /** Where the run began: its modules' places are the checkpoint's. */
  readonly initial: readonly AdapterModule[];
  readonly agreement: string;
  readonly steps: number;
  readonly ranks: Pick<Ranks, "rank">;
  readonly model: LlamaConfig;
}

/** @throws TRAINING_CHECKPOINT, TRAINING_RESUME */
export async function readCheckpoint(
  { folder, name, state }: FoundCheckpoint,
  { initial, agreement, steps, ranks, model }: ResumeOptions,
): Promise<Resumed> {
  if (state.agreement !== agreement || state.steps !== steps) {
    throw mismatch(
      `${name} cannot go on: its examples, its settings as they were used, or the adapter it began with are others`,
      `It was made by version ${state.version}. Give the inputs of its run again; none of them has to be left out.`,
    );
  }
  const { steps: records, evaluations } = await readHistory(folder, name, state.step);
  const modules = await readModules(folder, { file: adapterTensors, name }, initial, model);
  const { best } = state;
  if (best !== null && !evaluations.some(({ step, loss }) => step === best.step && loss === best.loss)) {
    throw damaged(`${name}/${stateName}`, 'field "best" is of no evaluation');
  }
  const bestModules =
    best === null || best.isCurrent ? modules : await readModules(folder, { file: bestName, name }, initial, model);
  const samples = await readSamples(folder, name, Object.hasOwn(state.files, samplesName));
  const { steps: updates, lossScale: value, steadySteps } = state.optimizer;
  const moments = await readMoments(folder, name, initial, model);
  return {
    modules,
    optimizer: { ...moments, steps: updates, lossScale: { value, steadySteps } },
    state: {
      steps: records,
      evaluations,
      best: best === null ? null : { step: best.step, loss: best.loss, modules: bestModules },
      samples,
      microBatches: state.microBatches[ranks.rank]!,
      tokens: state.tokens,
      seconds: state.seconds,
    },
  };
}
