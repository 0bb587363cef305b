import { lstat, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { isAbandoned } from "./owned-name.ts";

const removals = new Map<string, Promise<void>>();

/**
 * Removes what processes of this user that have died left in a folder, by default the temporary folder: once in the life
 * of a process. Never throws.
 */
export function removeAbandoned(folder: string = tmpdir()): Promise<void> {
  const path = resolve(folder);
  const removal = removals.get(path) ?? removeFrom(path).catch(() => {});
  removals.set(path, removal);
  return removal;
}

async function removeFrom(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!isAbandoned(name)) continue;
    const path = join(folder, name);
    const found = await lstat(path).catch(() => null);
    // Only what lies beside an output may be a file.
    const isOurs = found?.isDirectory() || (found?.isFile() && name.startsWith("."));
    if (isOurs && found?.uid === process.getuid?.()) await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}
