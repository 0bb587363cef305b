import { readdir, rm, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { archiveKind, gzipHoldsTar, unpackArchive } from "../../llama/archive.ts";
import { temporaryFolder } from "../../temporary/folders.ts";
import { bytesVariable, tooLarge } from "./byte-budget.ts";
import { chooseFiles, isDataName, isVisible, listed } from "./data-names.ts";

export const missing = "DATASET_NOT_FOUND";

/** A file of rows, plain or compressed by gzip. */
export interface DataFile {
  /** Where it lies. */
  readonly path: string;
  /** In messages: inside its archive or folder where there is one. */
  readonly name: string;
}

/** The files that a data set consists of. */
export interface Container {
  readonly files: readonly DataFile[];
  readonly notes: readonly string[];
  /** Removes what was unpacked. */
  close(): Promise<void>;
}

export interface ContainerOptions {
  readonly name: string;
  /** Bytes of all files together. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/** Files and folders of a folder, and folders within one another. */
const mostEntries = 1000;
const mostDepth = 16;

/**
 * Opens what a data set comes in: a folder, a .tar, .tar.gz or .zip, or one file. What a file is, its bytes say.
 * @throws DATASET_NOT_FOUND, DATASET_FORMAT, ARCHIVE_UNSAFE
 */
export async function openContainer(path: string, options: ContainerOptions): Promise<Container> {
  const found = await stat(path).catch(() => null);
  if (found?.isDirectory()) return openFolder(path, options);
  const kind = await archiveKind(path, { missing, name: options.name });
  const isArchive = kind === "tar" || kind === "zip" || (kind === "gzip" && (await gzipHoldsTar(path, { missing })));
  if (isArchive) return openArchive(path, options);
  if (kind === null && found!.size > options.maxBytes) throw tooLarge(options.name, options.maxBytes, found!.size);
  return { files: [{ path, name: options.name }], notes: [], close: async () => {} };
}

async function openArchive(path: string, { name, maxBytes, signal }: ContainerOptions): Promise<Container> {
  const folder = await temporaryFolder("dataset");
  const close = () => rm(folder, { recursive: true, force: true });
  let isFirstOther = true;
  try {
    const paths = await unpackArchive(path, folder, {
      name,
      missing,
      corrupt: "DATASET_FORMAT",
      maxBytes,
      variable: bytesVariable,
      // Of files not named like data only one alone is read, so the first one is all that can be needed.
      wanted: (inside) => {
        if (!isVisible(inside)) return null;
        if (isDataName(inside)) return maxBytes;
        const isWanted = isFirstOther;
        isFirstOther = false;
        return isWanted ? maxBytes : null;
      },
      signal,
    });
    return { ...chosen(paths, folder, name, "archive"), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openFolder(folder: string, { name, maxBytes }: ContainerOptions): Promise<Container> {
  const paths: string[] = [];
  let entries = 0;
  const walk = async (below: string, depth: number): Promise<void> => {
    for (const entry of await readdir(below, { withFileTypes: true })) {
      if (++entries > mostEntries || depth > mostDepth) {
        const limit =
          depth > mostDepth ? `${mostDepth} folders within one another` : `${mostEntries} files and folders`;
        throw new CodedError("DATASET_FORMAT", `${name}: the folder holds more than ${limit}`, {
          hint: "Give a folder that holds the data alone.",
        });
      }
      const path = join(below, entry.name);
      const inside = relative(folder, path).split(sep).join("/");
      if (!isVisible(inside)) continue;
      // Links to folders are not followed: they may lead back.
      if (entry.isDirectory()) await walk(path, depth + 1);
      else if (entry.isFile() || (entry.isSymbolicLink() && (await isFile(path)))) paths.push(inside);
    }
  };
  await walk(folder, 1);
  const container = chosen(paths, folder, name, "folder");
  let bytes = 0;
  for (const { path } of container.files) bytes += (await stat(path)).size;
  if (bytes > maxBytes) throw tooLarge(name, maxBytes, bytes);
  return { ...container, close: async () => {} };
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isFile() ?? false;
}

function chosen(paths: readonly string[], folder: string, name: string, what: "archive" | "folder") {
  const choice = chooseFiles(paths, name);
  if (choice === null) {
    const visible = paths.filter(isVisible).sort();
    if (visible.includes("xl/workbook.xml")) {
      throw new CodedError("DATASET_FORMAT", `${name}: is an Excel workbook`, {
        hint: "Save the sheet as CSV in UTF-8, its first line naming the columns.",
      });
    }
    const holds = visible.length === 0 ? "no file" : `no file that is named like data: ${listed(visible)}`;
    throw new CodedError("DATASET_FORMAT", `${name}: the ${what} holds ${holds}`, {
      hint: "Name files of rows .json, .jsonl, .csv or .tsv, or add .gz to these.",
    });
  }
  const files = choice.files.map((inside) => ({ path: join(folder, inside), name: `${name}/${inside}` }));
  return { files, notes: choice.note === null ? [] : [choice.note] };
}
