import { randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";

// What lies under such a name is data of a user. A process that is killed leaves it behind; the name tells the next one
// whose it was: llama-lora-<purpose>.<pid namespace>.<pid>.<start of the process>.<random>
const pattern = /^\.?llama-lora-[a-z-]+\.(\d+)\.(\d+)\.(\d+)\.[0-9a-f]+(?:-\d+)?$/;

/** A new name for a file or a folder that this process will remove. */
export function ownedName(purpose: string): string {
  const owner = [pidNamespace, process.pid, startOf(process.pid) ?? 0].join(".");
  return `llama-lora-${purpose}.${owner}.${randomBytes(6).toString("hex")}`;
}

/** Whether it is such a name, a dot before it or none, of a process that has died. */
export function isAbandoned(name: string): boolean {
  const [, namespace, pid, start] = pattern.exec(name) ?? [];
  // Of another container that shares the folder nothing can be known.
  return namespace === pidNamespace && !isAlive(Number(pid), Number(start));
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
