import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { pathBeside } from "./beside.ts";

/** Writes beside the file and renames, so that a reader or a crash never meets a partial one. */
export async function writeWhole(file: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const temporary = pathBeside(file);
  try {
    const handle = await open(temporary, "wx");
    try {
      await write(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
