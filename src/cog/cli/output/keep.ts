import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { basename, join } from "node:path";

/** Writes a result whose own place does not take it to the first one that does; its path, undefined where none does. */
export async function keepElsewhere(path: string, data: string | Buffer): Promise<string | undefined> {
  for (const place of [tmpdir(), homedir(), process.cwd()]) {
    let folder: string | undefined;
    try {
      folder = await mkdtemp(join(place, "kept-output-"));
      const file = join(folder, basename(path));
      await writeFile(file, data);
      return file;
    } catch {
      // The next place may have room.
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    }
  }
  return undefined;
}
