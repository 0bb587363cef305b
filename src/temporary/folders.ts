import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readlinkSync } from "node:fs";
import { lstat, mkdir, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { inStorage, storageFailure } from "./failure.ts";

// Data of users lie in temporary folders. A process that is killed leaves its own behind; the names tell the next one
// whose they were: llama-lora-<purpose>.<pid namespace>.<pid>.<start of the process>.<random>
const prefix = "llama-lora-";
const pattern = /^llama-lora-[a-z-]+\.(\d+)\.(\d+)\.(\d+)\.[0-9a-f]+(?:-\d+)?$/;

/**
 * The path of a new folder in the temporary folder, not yet made; whoever makes it removes it. What processes that have
 * died left there is removed meanwhile.
 */
export function temporaryPath(purpose: string): string {
  void removeAbandoned();
  const owner = [pidNamespace, process.pid, startOf(process.pid) ?? 0].join(".");
  return join(tmpdir(), `${prefix}${purpose}.${owner}.${randomBytes(6).toString("hex")}`);
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

const removals = new Map<string, Promise<void>>();

/** Removes this user's folders whose processes have died: once in the life of a process. Never throws. */
export function removeAbandoned(): Promise<void> {
  const folder = tmpdir();
  const removal = removals.get(folder) ?? removeFrom(folder).catch(() => {});
  removals.set(folder, removal);
  return removal;
}

async function removeFrom(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const [, namespace, pid, start] = pattern.exec(name) ?? [];
    // Of another container that shares the folder nothing can be known.
    if (namespace !== pidNamespace || isAlive(Number(pid), Number(start))) continue;
    const path = join(folder, name);
    const found = await lstat(path).catch(() => null);
    if (found?.isDirectory() && found.uid === process.getuid?.()) {
      await rm(path, { recursive: true, force: true }).catch(() => {});
    }
  }
}

/** Linux's number for the world in which pids are unique; "0" elsewhere. */
const pidNamespace = readPidNamespace();

function readPidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  } catch {
    return "0";
  }
}

function isAlive(pid: number, start: number): boolean {
  if (pidNamespace !== "0") return startOf(pid) === start;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Linux: clock ticks from the machine's start to the process's (proc(5), stat, field 22). Undefined: there is none. */
function startOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the program's name in parentheses, which may hold anything.
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
  } catch {
    return undefined;
  }
}
