import { mkdir, readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { LlamaConfig } from "../../engine/config.ts";
import { mostAdapterBytes } from "../../llama/adapter/index.ts";
import { archiveKind, unpackArchive } from "../../llama/archive.ts";
import { checkpointCodes } from "./files.ts";
import { differences, type Identity } from "./identity.ts";
import { inside, parseName, runPattern, stepPattern } from "./names.ts";
import { type FoundCheckpoint, openCheckpoint } from "./read.ts";
import { mismatch, refuse } from "./refusal.ts";
import { readState, stateName } from "./state-file.ts";

/** Of so many newest ones `last` looks for one that the run can go on with. */
const mostLookedAt = 1000;

interface Place {
  readonly run: string;
  readonly step: string;
  readonly time: number;
}

/** Every checkpoint in the folder, the newest first. */
async function checkpointsIn(root: string): Promise<Place[]> {
  const names = async (...path: string[]) => readdir(join(root, ...path)).catch(() => [] as string[]);
  const found: Place[] = [];
  for (const run of (await names())
    .filter((name) => runPattern.test(name))
    .sort()
    .reverse()
    .slice(0, mostLookedAt)) {
    for (const step of (await names(run)).filter((name) => stepPattern.test(name))) {
      const time = await stat(join(root, run, step, stateName)).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      );
      found.push({ run, step, time });
    }
  }
  const number = ({ step }: Place) => Number(step.slice("step-".length));
  return found.sort((a, b) => b.time - a.time || number(b) - number(a)).slice(0, mostLookedAt);
}

interface FindOptions {
  readonly root: string;
  readonly identity: Identity;
  readonly log: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The newest whole checkpoint that the run can go on with.
 * @throws TRAINING_RESUME where there are only others, saying what differs; TRAINING_CHECKPOINT where there are none
 */
export async function lastCheckpoint({ root, identity, log, signal }: FindOptions): Promise<FoundCheckpoint> {
  let reason: string | null = null;
  for (const { run, step } of await checkpointsIn(root)) {
    signal?.throwIfAborted();
    const name = `${run}/${step}`;
    try {
      const folder = await inside(root, run, step);
      if (folder === null) continue;
      const found = differences(identity, (await readState(folder, name)).identity);
      if (found.length === 0) return await openCheckpoint(folder, name, { run: join(root, run), signal });
      reason ??= `${name} is the newest: ${found.join("; ")}`;
    } catch (error) {
      signal?.throwIfAborted();
      log(`Passed over: ${(error as Error).message}`);
    }
  }
  if (reason === null) {
    throw refuse(`there is no whole checkpoint in ${basename(root)}`, {
      hint: 'Leave resume_from_checkpoint out, or give "auto" to begin anew where there is none.',
    });
  }
  throw mismatch(`no checkpoint in ${basename(root)} is of this run; ${reason}`, sameInputs);
}

const sameInputs =
  "Give the data set and the settings of that run; settings that are left out are taken from the checkpoint.";

/** @throws TRAINING_CHECKPOINT, TRAINING_RESUME */
export async function namedCheckpoint(text: string, { root, identity, signal }: FindOptions): Promise<FoundCheckpoint> {
  const { run, step } = parseName(text);
  const place = run === null ? (await checkpointsIn(root)).find((other) => other.step === step) : { run, step };
  const folder = place && (await inside(root, place.run, place.step));
  if (!place || !folder) throw refuse(`there is no checkpoint ${text} in ${basename(root)}`);
  return fitting(
    await openCheckpoint(folder, `${place.run}/${place.step}`, { run: join(root, place.run), signal }),
    identity,
  );
}

/** A checkpoint as a folder of the user's or an archive of one. @throws TRAINING_CHECKPOINT, TRAINING_RESUME, ARCHIVE_UNSAFE */
export async function checkpointFile(
  file: { readonly path: string; readonly name?: string },
  { identity, signal, model, into }: Omit<FindOptions, "root" | "log"> & { model: LlamaConfig; into: string },
): Promise<FoundCheckpoint> {
  const name = file.name ?? basename(file.path);
  if ((await archiveKind(file.path, { ...checkpointCodes, name })) === null) {
    throw refuse(`${name} is no archive of a checkpoint`, { hint: "Pack the folder as .tar.gz, .tar or .zip." });
  }
  const folder = join(into, "resumed-checkpoint");
  await mkdir(folder);
  // The adapter, its two moments, the best one; and a history.
  const maxBytes = 4 * mostAdapterBytes(model) + 2 ** 28;
  const wanted = (path: string) => (isWanted(path) ? maxBytes : null);
  const paths = await unpackArchive(file.path, folder, {
    ...checkpointCodes,
    name,
    maxBytes,
    maxRatio: 1000,
    wanted,
    signal,
  });
  const states = paths.filter((path) => basename(path) === stateName);
  if (states.length !== 1) throw refuse(`${name} holds ${states.length} files ${stateName}, one is needed`);
  return fitting(await openCheckpoint(join(folder, dirname(states[0]!)), name, { signal }), identity);
}

function isWanted(path: string): boolean {
  return /(^|\/)[\w.-]+\.(json|jsonl|safetensors)$/.test(path) && path.split("/").length <= 4;
}

function fitting(found: FoundCheckpoint, identity: Identity): FoundCheckpoint {
  const reasons = differences(identity, found.state.identity);
  if (reasons.length === 0) return found;
  throw mismatch(`${found.name} cannot go on: ${reasons.join("; ")}`, sameInputs);
}
