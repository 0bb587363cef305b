import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { basename, join, posix } from "node:path";
import { type LlamaConfig, linearNames } from "../../engine/config.ts";
import { CodedError } from "../../errors/index.ts";
import { temporaryFolder } from "../../temporary/folders.ts";
import { archiveKind, unpackArchive } from "../archive.ts";
import { headerLimit } from "../checkpoint/safetensors.ts";
import { isTokenizerFile, largestSideFile } from "../checkpoint/side-files.ts";
import { mostRecordBytes, recordName } from "../prompt/record.ts";
import type { Adapter, FullAdapter } from "./adapter.ts";
import { unpackAnswer } from "./answer-file.ts";
import { download } from "./download.ts";
import { type LooseKind, looseKind, readLooseAdapter } from "./loose-file.ts";
import { configName, maxConfigBytes, readAdapter } from "./read.ts";
import { adapterBytesVariable, mostAdapterBytes } from "./size.ts";
import { pickleName, tensorsName } from "./tensor-file.ts";
import { refuseWholeChanges } from "./whole-changes.ts";

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
 * Reads an adapter that an engine can take beside its base, from whatever withAdapter takes.
 * @throws what withAdapter throws; ADAPTER_UNSUPPORTED for one that changes the base's own weights
 */
export async function openAdapter(
  source: string,
  model: LlamaConfig,
  options: OpenAdapterOptions = {},
): Promise<Adapter> {
  return withAdapter(source, model, options, async ({ whole, folder, ...adapter }, name) => {
    refuseWholeChanges(whole, name);
    return adapter;
  });
}

/**
 * What `use` makes of an adapter: a folder of PEFT, a .tar, .tar.gz or .zip of one (as a file, inside the JSON that Cog's
 * client writes, or at an http(s) URL), or a single file that is an adapter by itself (readLooseAdapter). The files may lie
 * below one folder. Of an archive only these are unpacked, and nothing stays on the disk.
 * @throws ADAPTER_NOT_FOUND, ADAPTER_CONFIG, ADAPTER_UNSUPPORTED, ADAPTER_CORRUPT, ADAPTER_MISMATCH, ARCHIVE_UNSAFE
 */
export async function withAdapter<T>(
  source: string,
  model: LlamaConfig,
  options: OpenAdapterOptions,
  use: (adapter: FullAdapter, name: string) => Promise<T>,
): Promise<T> {
  const mostBytes = options.mostBytes ?? mostAdapterBytes(model);
  const tensorBytes = mostBytes + headerLimit(2 * model.layers * linearNames.length);
  return inAdapterPlace(source, { ...options, tensorBytes }, async ({ folder, loose, name, isUnpacked }) => {
    const readOptions = { ...options, name, ...(isUnpacked && { mostBytes }) };
    const adapter = await (loose === null
      ? readAdapter(folder, model, readOptions)
      : readLooseAdapter(folder, loose, model, { ...readOptions, mostBytes }));
    return use(adapter, name);
  });
}

/** Where the files of an adapter lie: in the user's folder, or unpacked from an archive. */
export interface AdapterFolder {
  readonly folder: string;
  /** The source's name in messages. */
  readonly name: string;
  readonly isUnpacked: boolean;
}

/** Or the one file that is an adapter by itself. */
interface AdapterPlace extends AdapterFolder {
  readonly loose: LooseKind | null;
}

type PlaceOptions = Pick<OpenAdapterOptions, "name" | "signal"> & {
  /** Largest file of tensors that is unpacked. */
  readonly tensorBytes: number;
};

/**
 * What `use` makes of the folder with an adapter's files; that of an archive is removed afterwards.
 * @throws ADAPTER_NOT_FOUND for a single file, and what withAdapter throws
 */
export async function inAdapterFolder<T>(
  source: string,
  options: PlaceOptions,
  use: (folder: AdapterFolder) => Promise<T>,
): Promise<T> {
  return inAdapterPlace(source, options, ({ loose, ...place }) => {
    if (loose !== null) throw noArchive(place.name);
    return use(place);
  });
}

async function inAdapterPlace<T>(
  source: string,
  { tensorBytes, signal, ...options }: PlaceOptions,
  use: (place: AdapterPlace) => Promise<T>,
): Promise<T> {
  const isUrl = /^https?:\/\//i.test(source);
  const name = options.name ?? (isUrl ? shortUrl(source) : basename(source));
  const found = isUrl ? null : await stat(source).catch(() => null);
  if (found?.isDirectory()) {
    return use({ folder: await adapterFolder(source, name), loose: null, name, isUnpacked: false });
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
    if (kind === null) {
      const loose = await looseKind(file);
      if (loose === null) throw noArchive(name);
      return await use({ folder: file, loose, name, isUnpacked: isUrl });
    }
    const unpacked = await mkdtemp(join(folder, "files-"));
    const paths = await unpackArchive(file, unpacked, {
      ...archive,
      maxBytes: besideBytes + tensorBytes,
      variable: adapterBytesVariable,
      wanted: (path) => mostBytesOf(path, tensorBytes),
      signal,
    });
    // torch.save writes zip archives of its own.
    if (kind === "zip" && paths.some((path) => path.endsWith("/data.pkl"))) {
      throw new CodedError("ADAPTER_NOT_FOUND", `${name}: is a file of PyTorch's alone, without an adapter's scale`, {
        hint: "Give the folder, or an archive of it, that has adapter_config.json beside adapter_model.bin.",
      });
    }
    return await use({ folder: await adapterFolder(unpacked, name), loose: null, name, isUnpacked: true });
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
  if (isTokenizerFile(name)) return largestSideFile;
  return name === tensorsName || name === pickleName ? tensorBytes : null;
}

function noArchive(name: string): CodedError {
  return new CodedError(
    "ADAPTER_NOT_FOUND",
    `${name}: is not a .tar, .tar.gz or .zip archive, nor an adapter of one file`,
    {
      hint: "Give the archive that a training returned (or the JSON that holds it), or the folder that PEFT saved.",
    },
  );
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
