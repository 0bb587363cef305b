import { readFileSync } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

const everyMs = 50;

/** What a server, its workers and its temporary folder take, at its peak since `reset`. */
export class Costs {
  /** Bytes of all their memory together. */
  memory = 0;
  disk: Disk = { bytes: 0, entries: 0 };
  readonly #pid: number;
  readonly #folder: string;
  readonly #timer: NodeJS.Timeout;
  #isLooking = false;

  constructor(pid: number, folder: string) {
    this.#pid = pid;
    this.#folder = folder;
    this.#timer = setInterval(() => this.#look(), everyMs);
  }

  reset(): void {
    this.memory = 0;
    this.disk = { bytes: 0, entries: 0 };
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    this.memory = Math.max(
      this.memory,
      [this.#pid, ...childrenOf(this.#pid)].reduce((sum, pid) => sum + residentBytes(pid), 0),
    );
    if (this.#isLooking) return;
    this.#isLooking = true;
    const { bytes, entries } = await diskOf(this.#folder);
    this.disk = { bytes: Math.max(bytes, this.disk.bytes), entries: Math.max(entries, this.disk.entries) };
    this.#isLooking = false;
  }
}

export interface Disk {
  /** As the files say, holes included. */
  readonly bytes: number;
  readonly entries: number;
}

export async function diskOf(folder: string): Promise<Disk> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  let bytes = 0;
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    bytes += (await lstat(join(entry.parentPath, entry.name)).catch(() => null))?.size ?? 0;
  }
  return { bytes, entries: entries.length };
}

/** The processes that its main thread started, as /proc tells. */
export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function residentBytes(pid: number): number {
  return (field(`/proc/${pid}/status`, "VmRSS") ?? 0) * 1024;
}

function field(file: string, name: string): number | null {
  try {
    const [, value] = new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(readFileSync(file, "latin1")) ?? [];
    return value === undefined ? null : Number(value);
  } catch {
    return null;
  }
}
