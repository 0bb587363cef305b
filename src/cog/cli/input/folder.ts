import type { Stats } from "node:fs";
import { create, type ReadEntry } from "tar";
import { Failure } from "../../../terminal/failure.ts";

/**
 * Writes the files of a folder into a new .tar; what links lead to is packed in their place.
 * @throws Failure when the folder holds a pipe, a socket or a device
 */
export async function packFolder(folder: string, archive: string): Promise<void> {
  const odd: string[] = [];
  const filter = (path: string, entry: Stats | ReadEntry) => {
    const isPacked = "isFile" in entry && (entry.isFile() || entry.isDirectory());
    if (!isPacked) odd.push(path);
    return isPacked;
  };
  // Warnings are errors: nothing may be left out.
  await create({ cwd: folder, file: archive, follow: true, portable: true, strict: true, filter }, ["."]);
  if (odd.length > 0) throw new Failure(`${folder}: ${odd[0]} is neither a file nor a folder`);
}
