import { lstat, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileSha256 } from "../file-digest.ts";
import { damaged } from "./refusal.ts";
import { stateName } from "./state-file.ts";

/** SHA-256 of every file of a folder that was just written, each of which is on the disk afterwards. */
export async function storedDigests(folder: string): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const name of (await readdir(folder)).sort()) {
    await sync(join(folder, name));
    digests[name] = await fileSha256(join(folder, name));
  }
  return digests;
}

/** Makes a file, or a folder's list of names, outlast a power failure. */
export async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** @throws TRAINING_CHECKPOINT naming the file that is missing or is not what was written */
export async function checkDigests(
  folder: string,
  name: string,
  files: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<void> {
  for (const [file, digest] of Object.entries(files)) {
    if (file === stateName) continue;
    const found = await lstat(join(folder, file)).catch(() => null);
    if (found === null) throw damaged(`${name}/${file}`, "there is no such file");
    if (!found.isFile()) throw damaged(`${name}/${file}`, "is no regular file");
    if ((await fileSha256(join(folder, file), signal)) !== digest) {
      throw damaged(`${name}/${file}`, "does not agree with its digest");
    }
  }
}
