import type { Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "../../errors/index.ts";

/** weights/hub/models--org--name/snapshots/revision, as Hugging Face's cache has it. */
const deepest = 4;

/** config.json, or weights in any format, packed, cut into parts or downloaded by half. */
export function isModelFile(name: string): boolean {
  return (
    /^(config|params|adapter_config)\.json$/.test(name) ||
    /\.(safetensors|bin|pth|pt|gguf|ggml|ckpt|h5|msgpack|onnx|npz|tar|tgz|zip)(\.|$)/i.test(name)
  );
}

/** What lies beside the weights. */
export function isSideFile(name: string): boolean {
  return /^(tokenizer\.(model|json)|tokenizer_config\.json|generation_config\.json|special_tokens_map\.json)$/.test(
    name,
  );
}

/**
 * The folders, `folder` and those below it, that hold such a file; hidden names do not count. What lies below one
 * belongs to it ("original", "onnx"), unless it is a whole model.
 * @throws CHECKPOINT_NOT_FOUND for a folder that cannot be read
 */
export async function modelFolders(
  folder: string,
  isSuch: (name: string) => boolean,
  depth = deepest,
): Promise<string[]> {
  const entries = await visibleEntries(folder);
  const below: string[] = [];
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (await isFolder(entry, path)) below.push(path);
  }
  if (entries.some(({ name }) => isSuch(name) && !below.includes(join(folder, name)))) {
    const whole: string[] = [];
    for (const path of below) if (await isWhole(path)) whole.push(path);
    return [folder, ...whole];
  }
  if (depth === 0) return [];
  return (await Promise.all(below.map((path) => modelFolders(path, isSuch, depth - 1)))).flat();
}

async function visibleEntries(folder: string): Promise<Dirent[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.filter(({ name }) => !name.startsWith(".")).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CodedError("CHECKPOINT_NOT_FOUND", `${folder}: cannot be read: ${code}`, { cause: error });
  }
}

async function isFolder(entry: Dirent, path: string): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function isWhole(folder: string): Promise<boolean> {
  const names = (await visibleEntries(folder)).map(({ name }) => name);
  return names.includes("config.json") && names.some((name) => /\.(safetensors|bin|pth?)(\.index\.json)?$/.test(name));
}
