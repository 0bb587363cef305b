import { readdir, stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { CodedError } from "../../errors/index.ts";
import { isGgufFile } from "./gguf/header.ts";
import { ggufModelIn } from "./gguf/parts.ts";
import { isModelFile, isSideFile, modelFolders } from "./model-folders.ts";

const projectWeights = fileURLToPath(new URL("../../../weights", import.meta.url));
const embeddedFolder = "tiny";

/**
 * Folder (or GGUF file) of the base model: the one that LLAMA_WEIGHTS names, else the only one in the first of the folders
 * `weights` that holds any, else the embedded one. Anything that looks like a model goes before it, whether or not it can be
 * opened.
 * @throws CHECKPOINT_NOT_FOUND, CHECKPOINT_AMBIGUOUS listing the folders there are to choose from
 */
export async function chooseCheckpoint(env = process.env, ...weights: readonly string[]): Promise<string> {
  if (env.LLAMA_WEIGHTS) return locateCheckpoint(env.LLAMA_WEIGHTS);
  // A project that installed this package has its model in its own folder.
  const places = weights.length > 0 ? weights : [...new Set([resolve("weights"), projectWeights])];
  const last = places.at(-1)!;
  const embedded = join(last, embeddedFolder);
  for (const place of places) {
    const model = await modelIn(place, embedded);
    if (model !== null) return model;
  }
  if (await isFolder(embedded)) return embedded;
  throw nothingIn(last, (await isFolder(last)) ? "holds no model" : "there is no such folder");
}

/** The one model in `weights` that is not the embedded one; null where there is none. */
async function modelIn(weights: string, embedded: string): Promise<string | null> {
  if (!(await isFolder(weights))) return null;
  const isOther = (folder: string) => folder !== embedded;
  const models = (await modelFolders(weights, isModelFile)).filter(isOther);
  if (models.length > 0) return only(models, weights);
  const parts = (await modelFolders(weights, isSideFile)).filter(isOther);
  if (parts.length > 0) throw nothingIn(parts[0]!, "holds files of a model, but neither config.json nor weights");
  return null;
}

/** Whether the folder is where the project's embedded model lies. */
export function isEmbedded(folder: string): boolean {
  return folder === join(projectWeights, embeddedFolder);
}

/**
 * The model's folder: `given` itself where files of a model lie in it, else the only one below it that looks like a model's;
 * or its GGUF file, given itself or alone there.
 * @throws CHECKPOINT_NOT_FOUND, CHECKPOINT_AMBIGUOUS listing the folders or files there are to choose from
 */
export async function locateCheckpoint(given: string): Promise<string> {
  const root = resolve(given);
  if (!(await isFolder(root))) {
    const found = await stat(root).catch(() => null);
    if (found === null) throw nothingIn(root, "there is no such folder");
    if (await isGgufFile(root)) return root;
    throw nothingIn(root, "is a file, but no GGUF file; name the folder it lies in");
  }
  const folders = await modelFolders(root, isModelFile);
  const folder = folders.length === 0 || folders[0] === root ? root : only(folders, root);
  const names = await readdir(folder);
  // Where the same model lies there as safetensors too, those go first: nothing in them has been rounded to blocks.
  return names.some(isHuggingFaceWeights) ? folder : (ggufModelIn(folder, names) ?? folder);
}

function isHuggingFaceWeights(name: string): boolean {
  return /\.(safetensors|bin|pth?)(\.index\.json)?$/.test(name) && !name.startsWith("adapter_model");
}

function only(folders: readonly string[], root: string): string {
  if (folders.length === 1) return folders[0]!;
  const names = folders.map((folder) => relative(root, folder) || "the folder itself");
  throw new CodedError("CHECKPOINT_AMBIGUOUS", `${root}: holds several models: ${names.join(", ")}`, {
    hint: "Name the folder of one of them in LLAMA_WEIGHTS, or move the others away",
  });
}

function nothingIn(folder: string, what: string): CodedError {
  return new CodedError("CHECKPOINT_NOT_FOUND", `${folder}: ${what}`, {
    hint:
      "Name a folder with config.json, model.safetensors and tokenizer.model, or a GGUF file, in LLAMA_WEIGHTS, " +
      "or put it into weights/",
  });
}

function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
