import { accessSync, constants, readFileSync, statfsSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { freemem, tmpdir, totalmem } from "node:os";
import { type Finding, note, ok, problem } from "./finding.ts";

const packageFile = new URL("../../../../package.json", import.meta.url);
const lowMemory = 1024 ** 3;
const lowDisk = 1024 ** 3;

/** Is this Node one that the package runs on? */
export function nodeVersion(version = process.versions.node): Finding {
  const { engines } = JSON.parse(readFileSync(packageFile, "utf8")) as { engines: { node: string } };
  const [major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(engines.node) ?? []).slice(1).map(Number);
  const [ours = 0, oursMinor = 0] = version.split(".").map(Number);
  if (ours > major || (ours === major && oursMinor >= minor)) return ok(`Node ${version}`);
  return problem(`Node ${version} is too old: ${engines.node} is needed`, "Install Node 22 or 24.");
}

/** Memory that a model can still take, in bytes: the machine's, or what a container's limit leaves. */
function availableMemory(): number {
  // Newer than the oldest Node that is supported.
  const { availableMemory } = process as { availableMemory?: () => number };
  return availableMemory?.call(process) ?? freemem();
}

export function memory(available = availableMemory(), total = totalmem()): Finding {
  const text = `${gigabytes(available)} of ${gigabytes(total)} GB memory are free`;
  if (available >= lowMemory) return ok(text);
  return note(text, "Models beyond the smallest need more: end other programs, or raise the container's limit.");
}

/** Runs keep their files in the folder for temporary files. */
export function temporaryFiles(folder = tmpdir()): Finding {
  try {
    if (!statSync(folder).isDirectory()) throw new Error("not a folder");
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch {
    return problem(
      `${folder}, for temporary files, cannot be written to`,
      "Set TMPDIR to a folder that can be, or give the container one: --tmpfs /tmp.",
    );
  }
  const { bavail, bsize } = statfsSync(folder);
  const text = `${gigabytes(bavail * bsize)} GB are free in ${folder}`;
  if (bavail * bsize >= lowDisk) return ok(text);
  return note(text, "Input and output files of runs lie there: free some space, or set TMPDIR.");
}

/** Can `cog serve` listen where it would? */
export async function port(text = process.env.PORT ?? "5000"): Promise<Finding> {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number > 65_535)
    return problem(`PORT=${text} is no port`, "Set it to a number from 0 to 65535, or unset it.");
  const server = createServer();
  const free = await new Promise<boolean>((resolve) => {
    server.once("error", () => resolve(false)).listen(number, "0.0.0.0", () => resolve(true));
  });
  server.close();
  if (free) return ok(`port ${number} is free for \`cog serve\``);
  return note(`port ${number} is taken`, "Give cog serve another: `cog serve -p 8080`");
}

function gigabytes(bytes: number): string {
  return (bytes / 1024 ** 3).toFixed(1);
}
