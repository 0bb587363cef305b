// Where what is built or installed after the package itself may lie.
import { accessSync, constants, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/** A folder of the user's cache; it is not made. XDG base directories: a relative XDG_CACHE_HOME is no setting. */
export function userCache(name) {
  const named = process.env.XDG_CACHE_HOME ?? "";
  return join(isAbsolute(named) ? named : join(homedir(), ".cache"), "llama-lora-cog", name);
}

/** The first of the folders that is there or can be made, and can be written; undefined where none is. */
export function firstWritable(folders) {
  return folders.find((folder) => {
    try {
      mkdirSync(folder, { recursive: true });
      accessSync(folder, constants.W_OK);
      return true;
    } catch {
      return false;
    }
  });
}
