import { randomBytes } from "node:crypto";
import { realpath } from "node:fs/promises";
import { join, sep } from "node:path";
import { refuse } from "./refusal.ts";

const run = "\\d{8}-\\d{6}-[0-9a-f]{6}";
const step = "step-\\d{6,12}";
export const runPattern = new RegExp(`^${run}$`);
export const stepPattern = new RegExp(`^${step}$`);
const namePattern = new RegExp(`^(?:(${run})/)?(${step})$`);

/** "20261130-195323-4f2a91": runs sort by when they began. */
export function newRunName(now = new Date()): string {
  const [date, time] = now.toISOString().slice(0, 19).replaceAll(/[-:]/g, "").split("T");
  return `${date}-${time}-${randomBytes(3).toString("hex")}`;
}

/** "step-000120" */
export function stepName(done: number): string {
  return `step-${String(done).padStart(6, "0")}`;
}

export interface CheckpointName {
  /** null: any run that has such a step. */
  readonly run: string | null;
  readonly step: string;
}

/** "20261130-195323-4f2a91/step-000120", or its last part. @throws TRAINING_CHECKPOINT for anything else */
export function parseName(text: string): CheckpointName {
  const [, runName, stepPart] = namePattern.exec(text) ?? [];
  if (stepPart !== undefined) return { run: runName ?? null, step: stepPart };
  throw refuse(`resume_from_checkpoint is ${JSON.stringify(text.slice(0, 100))}, which is no checkpoint's name`, {
    hint: 'Give "last", a name such as "20261130-195323-4f2a91/step-000120", or a file of one as checkpoint=@file.',
  });
}

/**
 * The real path of a folder below `root`, null where there is none.
 * @throws TRAINING_CHECKPOINT for a link that leads out of it
 */
export async function inside(root: string, ...parts: readonly string[]): Promise<string | null> {
  const path = join(root, ...parts);
  const [real, realRoot] = await Promise.all([realpath(path).catch(() => null), realpath(root).catch(() => null)]);
  if (real === null || realRoot === null) return null;
  if (real.startsWith(realRoot + sep)) return real;
  throw refuse(`the checkpoint ${parts.join("/")} is a link that leads out of the folder of checkpoints`);
}
