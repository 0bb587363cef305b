import { readFileSync } from "node:fs";

/** Files that the process needs beside its clients' connections: the worker, downloads, uploads, webhooks. */
const reserved = 64;
/** The default where the system does not say how many files a process may open. */
const usual = 768;
const highestDefault = 10_000;

/** The most that COG_MAX_CONNECTIONS may be. */
export function mostConnections(): number {
  const files = openFiles();
  return files === null ? Number.MAX_SAFE_INTEGER : Math.max(1, files - reserved);
}

/** Three quarters of the files that the process may open (`ulimit -n`), at most 10,000. */
export function defaultConnections(): number {
  const files = openFiles();
  return files === null ? usual : Math.min(Math.max(1, Math.floor(files * 0.75)), highestDefault, mostConnections());
}

/** Null where the system is not Linux. */
function openFiles(): number | null {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return limit === undefined ? null : Number(limit);
  } catch {
    return null;
  }
}
