import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { packageVersion } from "../../engine/package-folder.ts";
import { CodedError } from "../../errors/index.ts";
import { recordName } from "../../llama/prompt/record.ts";
import type { Given } from "../plan.ts";
import type { TrainingSettings } from "../settings.ts";
import { checkpointFile, lastCheckpoint, namedCheckpoint } from "./find.ts";
import { type Asked, identityOf } from "./identity.ts";
import type { FoundCheckpoint } from "./read.ts";
import { damaged, mismatch, refuse } from "./refusal.ts";
import { RunCheckpoints } from "./run-checkpoints.ts";
import { stateName } from "./state-file.ts";

export { checkpointsFolder, RunCheckpoints } from "./run-checkpoints.ts";

/** What a request says of checkpoints. */
export interface CheckpointInputs {
  /** Steps between two; null: at each evaluation. */
  readonly save_steps: number | null;
  readonly save_total_limit: number;
  /** "last", "auto" (last, if there is one), a checkpoint's name, or an archive of one as a data URL. */
  readonly resume_from_checkpoint: string | null;
  /** An archive of one. */
  readonly checkpoint: { readonly path: string; readonly name?: string } | null;
}

export interface OpenOptions extends Asked {
  readonly inputs: CheckpointInputs;
  /** Folder of all runs; null: none is kept. */
  readonly folder: string | null;
  /** For what is unpacked. */
  readonly tempDir: string;
  readonly log: (line: string) => void;
  readonly onSaved?: (name: string) => void;
}

/** A run's checkpoints, and the settings that it has with the one that it goes on from. */
export interface OpenedCheckpoints {
  readonly checkpoints: RunCheckpoints;
  readonly settings: TrainingSettings;
  readonly given: Given;
}

/** @throws TRAINING_SETTINGS, TRAINING_CHECKPOINT, TRAINING_RESUME */
export async function openCheckpoints(options: OpenOptions): Promise<OpenedCheckpoints> {
  const { folder, inputs, settings, given, log, onSaved } = options;
  requirePlace(options);
  const identity = await identityOf(options);
  const resumed = await find(options, identity);
  const taken = resumed === null ? { settings, given, identity } : takenFrom(resumed, options);
  const checkpoints = new RunCheckpoints({
    root: folder,
    identity: taken.identity,
    version: packageVersion(),
    saveSteps: inputs.save_steps ?? 0,
    saveTotalLimit: inputs.save_total_limit,
    resumed,
    log,
    onSaved,
  });
  return { checkpoints, settings: taken.settings, given: taken.given };
}

function requirePlace({ folder, inputs: { save_steps, resume_from_checkpoint, checkpoint } }: OpenOptions): void {
  if (resume_from_checkpoint !== null && checkpoint !== null) {
    throw new CodedError("TRAINING_SETTINGS", "resume_from_checkpoint and checkpoint are both given: give one of them");
  }
  if (folder !== null) return;
  const named = resume_from_checkpoint !== null && !isDataUrl(resume_from_checkpoint);
  const input = save_steps !== null ? "save_steps" : named ? "resume_from_checkpoint" : null;
  if (input === null) return;
  throw new CodedError("TRAINING_SETTINGS", `${input} is given, but no checkpoints are kept here`, {
    hint: "Whoever runs the server sets LLAMA_CHECKPOINTS to a folder for them.",
  });
}

async function find(options: OpenOptions, identity: Awaited<ReturnType<typeof identityOf>>) {
  const { inputs, base, tempDir, log, signal } = options;
  const { resume_from_checkpoint: text, checkpoint } = inputs;
  const how = { identity, signal, model: base.model.config, into: tempDir };
  if (checkpoint !== null) return checkpointFile(checkpoint, how);
  if (text === null) return null;
  if (isDataUrl(text)) return checkpointFile(await storedDataUrl(text, tempDir), how);
  const place = { root: options.folder!, identity, log, signal };
  if (text === "last") return lastCheckpoint(place);
  if (text !== "auto") return namedCheckpoint(text, place);
  try {
    return await lastCheckpoint(place);
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    log(`A new run: ${error.message}`);
    return null;
  }
}

function isDataUrl(text: string): boolean {
  return text.startsWith("data:");
}

/** `resume_from_checkpoint=@file` of a command. */
async function storedDataUrl(text: string, folder: string): Promise<{ path: string; name: string }> {
  const comma = text.indexOf(",");
  if (!text.slice(0, comma).endsWith(";base64")) throw refuse("resume_from_checkpoint is a data URL without base64");
  const path = join(folder, "resumed-checkpoint.archive");
  await writeFile(path, Buffer.from(text.slice(comma + 1), "base64"));
  return { path, name: "resume_from_checkpoint" };
}

/** The settings of the run that goes on; what was given now agrees with them. */
function takenFrom(found: FoundCheckpoint, { settings }: OpenOptions) {
  const { folder, name, state } = found;
  const { identity } = state;
  const missing = Object.keys(settings).filter(
    (key) => key !== "prompt_template" && !Object.hasOwn(identity.settings, key),
  );
  if (missing.length > 0) {
    throw mismatch(`${name} is of another version (${state.version}): it lacks ${missing.join(", ")}`, "Train anew.");
  }
  const hadFile = identity.given.includes("prompt_template");
  // A checkpoint has the template's file, as adapters have.
  const template = hadFile
    ? { prompt_template: { path: join(folder, recordName), name: `${name}/${recordName}` } }
    : {};
  const kept = Object.fromEntries(Object.entries(settings).map(([key, value]) => [key, keptValue(key, value, found)]));
  return {
    settings: { ...kept, ...template } as unknown as TrainingSettings,
    given: new Set(identity.given),
    identity,
  };
}

/** The values are checked as any run's are; their types are not, where a request's schema has done so. */
function keptValue(key: string, value: unknown, { name, state }: FoundCheckpoint): unknown {
  const { settings } = state.identity;
  if (!Object.hasOwn(settings, key)) return value;
  const kept: unknown = settings[key as keyof typeof settings];
  if (kept === null && (value === null || value === undefined)) return value;
  if (kept !== null && value !== null && value !== undefined && kindOf(kept) !== kindOf(value)) {
    throw damaged(`${name}/${stateName}`, `setting "${key}" is not ${kindOf(value)}`);
  }
  return kept;
}

function kindOf(value: unknown): string {
  if (!Array.isArray(value)) return `a ${typeof value}`;
  return `a list of ${[...new Set(value.map((item) => typeof item))].join(" and ")}`;
}
