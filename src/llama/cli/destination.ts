import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pathBeside } from "../../temporary/beside.ts";
import { removeFolder } from "../../temporary/folders.ts";

import { Failure, systemErrorText } from "../../terminal/failure.ts";
import { isModelFile, isSideFile } from "../checkpoint/model-folders.ts";

export interface DestinationOptions {
  /** Whether what is there may be written over. */
  readonly force: boolean;
  /** Files and folders that are read, none of which may be the destination. */
  readonly inputs: readonly string[];
}

/** Files that say what the others are: a folder without them holds no model yet. */
const lastFiles = ["model.safetensors.index.json", "adapter_config.json", "config.json"];

/**
 * Has a folder of files written: all of them or none. A folder that is there keeps what else lies in it (folders, files
 * that are no model's).
 * @param fill writes the files into the folder it is given
 * @throws Failure where it cannot be written, or holds a model and `force` is not set
 */
export async function writeFolder(
  out: string,
  options: DestinationOptions,
  fill: (folder: string) => Promise<void>,
): Promise<void> {
  const target = resolve(out);
  refuseInput(target, out, options);
  const old = await modelFilesIn(target, out);
  if (old === null) {
    const folder = pathBeside(target);
    await making(folder, out);
    await filling(folder, fill, () => rename(folder, target));
    return;
  }
  if (old.length > 0 && !options.force) {
    throw new Failure(`${out}: holds ${old[0]}${old.length > 1 ? ` and ${old.length - 1} more` : ""} already`, {
      hint: "Choose another folder, or write over these files with --force.",
    });
  }
  const folder = pathBeside(join(target, "files"));
  await making(folder, out);
  await filling(folder, fill, async () => {
    const names = (await readdir(folder)).sort((a, b) => lastFiles.indexOf(a) - lastFiles.indexOf(b));
    const inTheWay = names.find((name) => existsSync(join(target, name)) && !old.includes(name));
    if (inTheWay !== undefined && !options.force) {
      throw new Failure(`${join(out, inTheWay)}: is there already; --force writes over it`);
    }
    for (const name of old) await rm(join(target, name));
    for (const name of names) await rename(join(folder, name), join(target, name));
  });
}

/**
 * Has a file written: whole or not at all.
 * @param write writes the file of the name it is given, beside the destination
 * @throws Failure where it cannot be written, or is there and `force` is not set
 */
export async function writeFile(
  out: string,
  options: DestinationOptions,
  write: (file: string) => Promise<void>,
): Promise<void> {
  const target = resolve(out);
  refuseInput(target, out, options);
  const found = await stat(target).catch(() => null);
  if (found?.isDirectory()) throw new Failure(`${out}: is a directory; name the file`);
  if (found !== null && !options.force) throw new Failure(`${out}: is there already; --force writes over it`);
  if (!existsSync(dirname(target))) throw new Failure(`${dirname(out)}: no such file or directory`);
  const unfinished = pathBeside(target);
  try {
    await write(unfinished);
    await rename(unfinished, target);
  } catch (error) {
    await removeFolder(unfinished);
    throw asFailure(error, out);
  }
}

function refuseInput(target: string, out: string, { inputs }: DestinationOptions): void {
  if (!inputs.some((input) => resolve(input) === target)) return;
  throw new Failure(`${out}: is what is read; write to another place`);
}

/** Names in the folder; null: there is none. */
async function modelFilesIn(folder: string, out: string): Promise<string[] | null> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    const files = entries.filter((entry) => !entry.isDirectory() && !entry.name.startsWith("."));
    return files.map(({ name }) => name).filter((name) => isModelFile(name) || isSideFile(name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new Failure(`${out}: ${systemErrorText(error)}`, { cause: error });
  }
}

async function making(folder: string, out: string): Promise<void> {
  await mkdir(folder).catch((error: unknown) => {
    throw new Failure(`${out}: cannot be written: ${systemErrorText(error)}`, { cause: error });
  });
}

async function filling(folder: string, fill: (folder: string) => Promise<void>, finish: () => Promise<void>) {
  try {
    await fill(folder);
    await finish();
  } catch (error) {
    throw asFailure(error, dirname(folder));
  } finally {
    await removeFolder(folder);
  }
}

const storing = new Set(["mkdir", "open", "write", "rename", "fsync", "copyfile"]);

/** An error of writing as a line for a person; any other as it is. */
function asFailure(error: unknown, out: string): unknown {
  const { code, syscall = "" } = error as NodeJS.ErrnoException;
  if (code === undefined || !storing.has(syscall)) return error;
  return new Failure(`${out}: cannot be written: ${systemErrorText(error)}`, { cause: error });
}
