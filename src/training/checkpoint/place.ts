import { mkdir, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { removeAbandoned } from "../../temporary/abandoned.ts";
import { pathBeside } from "../../temporary/beside.ts";
import { megabytesText } from "../report/units.ts";
import { runPattern, stepPattern } from "./names.ts";

/** For what is no tensor, and a file system's own needs. */
const slackBytes = 2 ** 22;

/**
 * Makes a run's folder and makes sure that a checkpoint can be stored there.
 * @param bytes of a checkpoint's tensors
 * @throws TRAINING_OUTPUT
 */
export async function openPlace(root: string, run: string, bytes: number): Promise<void> {
  try {
    await mkdir(run, { recursive: true });
    const probe = pathBeside(join(run, "step"));
    await mkdir(probe);
    await rm(probe, { recursive: true });
    const { bavail, bsize } = await statfs(run);
    const [free, needed] = [bavail * bsize, bytes + slackBytes];
    if (free < needed) throw new Error(`a checkpoint needs ${megabytesText(needed)}, ${megabytesText(free)} are free`);
  } catch (cause) {
    throw new CodedError("TRAINING_OUTPUT", `no checkpoints can be kept in ${root}: ${(cause as Error).message}`, {
      hint: "Free space, or set LLAMA_CHECKPOINTS to another folder; LLAMA_CHECKPOINTS=off keeps none.",
      cause,
    });
  }
}

/** What runs that were killed in the middle of a checkpoint left. */
export async function sweep(root: string): Promise<void> {
  const runs = await readdir(root).catch(() => [] as string[]);
  for (const name of runs) if (runPattern.test(name)) await removeAbandoned(join(root, name));
}

/** Removes all checkpoints of a run but the last `keep`, the oldest first; one goes whole. */
export async function removeOld(run: string, keep: number): Promise<void> {
  const names = (await readdir(run)).filter((name) => stepPattern.test(name));
  const byTime = await Promise.all(names.map(async (name) => ({ name, time: (await stat(join(run, name))).mtimeMs })));
  byTime.sort((a, b) => a.time - b.time || a.name.localeCompare(b.name));
  for (const { name } of byTime.slice(0, Math.max(0, byTime.length - keep))) {
    // Its name goes first: a part of it must not look like a checkpoint.
    const hidden = pathBeside(join(run, name));
    await rename(join(run, name), hidden);
    await rm(hidden, { recursive: true, force: true });
  }
}
