import { existsSync, mkdirSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { removeAbandoned } from "./abandoned.ts";
import { inStorage, storageFailure } from "./failure.ts";
import { ownedName } from "./owned-name.ts";

/**
 * The path of a new folder in the temporary folder, not yet made; whoever makes it removes it. What processes that have
 * died left there is removed meanwhile.
 */
export function temporaryPath(purpose: string): string {
  void removeAbandoned();
  return join(tmpdir(), ownedName(purpose));
}

/** A new folder in the temporary folder, for this user alone. @throws CodedError TEMPORARY_FOLDER */
export async function temporaryFolder(purpose: string): Promise<string> {
  const folder = temporaryPath(purpose);
  await inStorage(mkdir(folder, { mode: 0o700 }));
  return folder;
}

/**
 * Makes a folder inside one that is made as well, for this user alone.
 * @throws CodedError TEMPORARY_FOLDER
 */
export function makeFolder(path: string): void {
  try {
    // Two steps: Node's `recursive` tells of a read-only file system that it is not there.
    for (const folder of [dirname(path), path]) if (!existsSync(folder)) mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    throw storageFailure(error) ?? error;
  }
}

/** Removes a folder that is of no use any more, if it is there. What cannot be removed is left to a later start. */
export async function removeFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 3 }).catch(() => {});
}
