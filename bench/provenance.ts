import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

/** What a measurement was taken on and with; stands in every JSON file that a program of bench/ writes. */
export function provenance() {
  return {
    hardware: { cpu: processor(), cores: cpus().length, memoryBytes: totalmem() },
    node: process.version,
    revision: revision(),
    date: new Date().toISOString().slice(0, 10),
  };
}

/** Virtual machines often hide the name's last part: family and model tell generations apart. */
function processor(): string {
  const name = cpus()[0]?.model.trim() ?? "unknown";
  if (!existsSync("/proc/cpuinfo")) return name;
  const text = readFileSync("/proc/cpuinfo", "utf8");
  const field = (key: string) => new RegExp(`^${key}\\s*: (\\d+)$`, "m").exec(text)?.[1];
  const [family, model] = [field("cpu family"), field("model")];
  return family && model ? `${name} (family ${family}, model ${model})` : name;
}

/** The commit; "-dirty" where files differ from it (results that are being renewed do not count). */
function revision(): string {
  const git = (...args: string[]) => execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim();
  const changed = git("status", "--porcelain", "--", ".", ":!bench/results");
  return git("rev-parse", "HEAD") + (changed ? "-dirty" : "");
}
