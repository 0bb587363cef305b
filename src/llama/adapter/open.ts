import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { basename, join, posix } from "node:path";
import { type LlamaConfig, linearNames } from "../../engine/config.ts";
import { CodedError } from "../../errors/index.ts";
import { temporaryFolder } from "../../temporary/folders.ts";
import { archiveKind, unpackArchive } from "../archive.ts";
import { headerLimit } from "../checkpoint/safetensors.ts";
import { mostRecordBytes, recordName } from "../prompt/record.ts";
import { unpackAnswer } from "./answer-file.ts";
import { download } from "./download.ts";
import { type Adapter, configName, maxConfigBytes, pickleName, readAdapter, tensorsName } from "./read.ts";
import { adapterBytesVariable, mostAdapterBytes } from "./size.ts";

export interface OpenAdapterOptions {
  /** The source's name in messages. */
  readonly name?: string | undefined;
  /** Published name of the loaded base: an adapter that names another gets a warning. */
  readonly base?: string | null;
  /** Of the adapter in float32; what mostAdapterBytes says by default. */
  readonly mostBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads an adapter from a folder of PEFT, from a .tar or .tar.gz of one (as a file, inside the JSON that Cog's client
 * writes, or at an http(s) URL). The files may lie below one folder. Of
 * an archive only these are unpacked, and nothing stays on the disk.
 * @throws ADAPTER_NOT_FOUND, ADAPTER_CONFIG, ADAPTER_UNSUPPORTED, ADAPTER_CORRUPT, ADAPTER_MISMATCH, ARCHIVE_UNSAFE
 */
export async function openAdapter(
  source: string,
  model: LlamaConfig,
  options: OpenAdapterOptions = {},
): Promise<Adapter> {
  const mostBytes = options.mostBytes ?? mostAdapterBytes(model);
  const tensorBytes = mostBytes + headerLimit(2 * model.layers * linearNames.length);
  return inAdapterFolder(source, { ...options, tensorBytes }, ({ folder, name, isUnpacked, hasPickle }) =>
    readAdapter(folder, model, { ...options, name, ...(isUnpacked && { mostBytes, hasPickle }) }),
  );
}

/** Where the files of an adapter lie: in the user's folder, or unpacked from an archive. */
export interface AdapterFolder {
  readonly folder: string;
  /** The source's name in messages. */
  readonly name: string;
  readonly isUnpacked: boolean;
  /** Whether an archive holds weights as Python's pickle, which are not unpacked. */
  readonly hasPickle: boolean;
}

/**
 * What `use` makes of the folder with an adapter's files; that of an archive is removed afterwards.
 * @param options.tensorBytes largest file of tensors that is unpacked
 */
export async function inAdapterFolder<T>(
  source: string,
  { tensorBytes, signal, ...options }: Pick<OpenAdapterOptions, "name" | "signal"> & { readonly tensorBytes: number },
  use: (folder: AdapterFolder) => Promise<T>,
): Promise<T> {
  const isUrl = /^https?:\/\//i.test(source);
  const name = options.name ?? (isUrl ? shortUrl(source) : basename(source));
  const found = isUrl ? null : await stat(source).catch(() => null);
  if (found?.isDirectory()) {
    return use({ folder: await adapterFolder(source, name), name, isUnpacked: false, hasPickle: false });
  }
  if (!isUrl && !found) throw new CodedError("ADAPTER_NOT_FOUND", `${name}: no such file or folder`);

  const archive = { name, missing: "ADAPTER_NOT_FOUND", corrupt: "ADAPTER_CORRUPT" } as const;
  const folder = await temporaryFolder("adapter");
  try {
    let file = source;
    if (isUrl) {
      file = join(folder, "download");
      await download(source, file, { name, maxBytes: besideBytes + tensorBytes, signal });
    }
    let kind = await archiveKind(file, archive);
    const inside = join(folder, "inside");
    if (kind === null && (await unpackAnswer(file, inside, { name, signal }))) {
      file = inside;
      kind = await archiveKind(file, archive);
    }
    if (kind !== "gzip" && kind !== "tar") {
      throw new CodedError("ADAPTER_NOT_FOUND", `${name}: is not a .tar or .tar.gz archive`, {
        hint: "Give the archive that a training returned (or the JSON that holds it), or the folder that PEFT saved.",
      });
    }
    const unpacked = await mkdtemp(join(folder, "files-"));
    const paths = await unpackArchive(file, unpacked, {
      ...archive,
      maxBytes: besideBytes + tensorBytes,
      variable: adapterBytesVariable,
      wanted: (path) => mostBytesOf(path, tensorBytes),
      signal,
    });
    const hasPickle = paths.some((path) => posix.basename(path) === pickleName);
    return await use({ folder: await adapterFolder(unpacked, name), name, isUnpacked: true, hasPickle });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What may lie beside an adapter in its archive: optimiser states, a tokenizer. */
const besideBytes = 2 ** 30;

/** Of a file of an adapter, at the top of the archive or in a folder there; null is any other. */
function mostBytesOf(path: string, tensorBytes: number): number | null {
  if (path.split("/").length > 2) return null;
  const name = posix.basename(path);
  if (name === configName) return maxConfigBytes;
  if (name === recordName) return mostRecordBytes;
  return name === tensorsName ? tensorBytes : null;
}

/** The folder itself, or the only one in it that holds an adapter. */
async function adapterFolder(folder: string, name: string): Promise<string> {
  if (existsSync(join(folder, configName))) return folder;
  const entries = await readdir(folder, { withFileTypes: true });
  const candidates = entries.filter((entry) => entry.isDirectory() && existsSync(join(folder, entry.name, configName)));
  if (candidates.length === 1) return join(folder, candidates[0]!.name);
  const what = candidates.length === 0 ? `there is no ${configName}` : "there are several adapters";
  throw new CodedError("ADAPTER_NOT_FOUND", `${name}: ${what}`);
}

/** Without the query, which may hold a signature. */
function shortUrl(url: string): string {
  return url.replace(/[?#].*$/s, "").slice(0, 200);
}
