import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { CodedError } from "../../errors/index.ts";

export interface CheckpointFolders {
  /** Has config.json. */
  readonly model: string;
  /** Where the tokenizer may be, in order. */
  readonly tokenizer: readonly string[];
}

/**
 * Finds the model in `folder`, or in the only folder inside it that has a config.json.
 * Throws CHECKPOINT_NOT_FOUND saying what is in the folder instead, or which folders there are to choose from.
 */
export async function locateCheckpoint(folder: string): Promise<CheckpointFolders> {
  if (!(await isFolder(folder))) throw new CodedError("CHECKPOINT_NOT_FOUND", `${folder}: there is no such folder`);
  if (await isFile(join(folder, "config.json"))) {
    return { model: folder, tokenizer: [folder, join(dirname(folder), "tokenizer")] };
  }
  const models: string[] = [];
  for (const entry of await readdir(folder)) {
    if (await isFile(join(folder, entry, "config.json"))) models.push(join(folder, entry));
  }
  if (models.length > 1) {
    throw new CodedError("CHECKPOINT_NOT_FOUND", `${folder}: holds several models: ${names(models)}`, {
      hint: "Name one of these folders",
    });
  }
  const [model] = models;
  if (model !== undefined) return { model, tokenizer: [model, join(folder, "tokenizer"), folder] };
  throw new CodedError("CHECKPOINT_NOT_FOUND", `${folder}: has no config.json`, {
    hint: await advice(folder),
  });
}

async function advice(folder: string): Promise<string> {
  const entries = await readdir(folder);
  if (entries.includes("params.json") || entries.some((name) => name.endsWith(".pth"))) {
    return "These are Meta's original files; convert them to the Hugging Face layout first";
  }
  if (entries.some((name) => name.endsWith(".gguf"))) return "GGUF files cannot be read; use safetensors";
  return "A checkpoint folder holds config.json, model.safetensors and tokenizer.model";
}

function names(paths: readonly string[]): string {
  return paths.map((path) => basename(path)).join(", ");
}

function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
