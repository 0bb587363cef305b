import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { LlamaConfig } from "../../engine/config.ts";
import type { AdapterModule, OptimizerState } from "../../engine/engine.ts";
import { type AdapterToWrite, writeAdapterFolder } from "../../llama/adapter/index.ts";
import { pathBeside } from "../../temporary/beside.ts";
import type { SampleRecord } from "../samples.ts";
import { storedDigests, sync } from "./digests.ts";
import { historyName, samplesName } from "./history.ts";
import { type CheckpointState, encodeState, stateName } from "./state-file.ts";
import { writeBest, writeMoments } from "./tensors.ts";

/** What a checkpoint is written from. */
export interface CheckpointContent {
  readonly adapter: AdapterToWrite;
  readonly optimizer: OptimizerState;
  /** null: there is none, or it is the adapter itself. */
  readonly best: readonly AdapterModule[] | null;
  /** Lines of the run's history. */
  readonly history: readonly Uint8Array[];
  readonly samples: readonly SampleRecord[];
  readonly state: Omit<CheckpointState, "files">;
}

/**
 * Writes a checkpoint as a folder, whole or not at all: beside its place, flushed to the disk, then renamed. The folder is a
 * PEFT adapter that can be served as it is.
 */
export async function writeCheckpoint(folder: string, content: CheckpointContent, model: LlamaConfig): Promise<void> {
  const { adapter, optimizer, best, history, samples, state } = content;
  const hidden = pathBeside(folder);
  try {
    await mkdir(hidden);
    await writeAdapterFolder(hidden, adapter, model);
    await writeMoments(hidden, optimizer, adapter.modules, model);
    if (best !== null) await writeBest(hidden, best, model);
    await writeFile(join(hidden, historyName), history);
    if (samples.length > 0) await writeFile(join(hidden, samplesName), JSON.stringify(samples));
    const files = await storedDigests(hidden);
    await writeFile(join(hidden, stateName), encodeState({ ...state, files }));
    await sync(join(hidden, stateName));
    await sync(hidden);
    await replace(hidden, folder);
    await sync(dirname(folder));
  } catch (error) {
    await rm(hidden, { recursive: true, force: true }).catch(() => {});
    throw error;
  }
}

/** A run that went on from an older checkpoint writes the later ones again. */
async function replace(hidden: string, folder: string): Promise<void> {
  try {
    await rename(hidden, folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
    const old = pathBeside(folder);
    await rename(folder, old);
    await rename(hidden, folder);
    await rm(old, { recursive: true, force: true });
  }
}
