import { mkdtemp, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { basename, join } from "node:path";

/** Writes a result whose own place does not take it to the first one that does; its path, undefined where none does. */
export async function keepElsewhere(path: string, data: string | Buffer): Promise<string | undefined> {
  for (const place of [tmpdir(), process.cwd(), homedir()]) {
    try {
      const file = join(await mkdtemp(join(place, "kept-output-")), basename(path));
      await writeFile(file, data);
      return file;
    } catch {
      // The next place may have room.
    }
  }
  return undefined;
}
