import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { OutputData } from "./write.ts";

/** Writes a result whose own place does not take it to the first one that does; its path, undefined where none does. */
export async function keepElsewhere(path: string, data: OutputData): Promise<string | undefined> {
  for (const place of [tmpdir(), homedir(), process.cwd()]) {
    let folder: string | undefined;
    try {
      folder = await mkdtemp(join(place, "kept-output-"));
      const file = join(folder, basename(path));
      if (typeof data === "string" || Buffer.isBuffer(data)) await writeFile(file, data);
      else await copyFile(data.path, file);
      return file;
    } catch {
      // The next place may have room.
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    }
  }
  return undefined;
}
