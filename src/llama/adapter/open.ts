import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { LlamaConfig } from "../../engine/config.ts";
import { CodedError } from "../../errors/index.ts";
import { temporaryFolder } from "../../temporary/folders.ts";
import { archiveKind, unpackArchive } from "../archive.ts";
import { unpackAnswer } from "./answer-file.ts";
import { download } from "./download.ts";
import { type Adapter, configName, readAdapter } from "./read.ts";

export interface OpenAdapterOptions {
  /** The source's name in messages. */
  readonly name?: string | undefined;
  /** Published name of the loaded base: an adapter that names another gets a warning. */
  readonly base?: string | null;
  readonly signal?: AbortSignal | undefined;
}

const maxArchiveBytes = 16 * 1024 ** 3;

/**
 * Reads an adapter from a folder of PEFT, from a .tar or .tar.gz of one (as a file, inside the JSON that Cog's client
 * writes, or at an http(s) URL). The files may lie below one folder. Nothing stays on the disk.
 * @throws ADAPTER_NOT_FOUND, ADAPTER_CONFIG, ADAPTER_UNSUPPORTED, ADAPTER_CORRUPT, ADAPTER_MISMATCH, ARCHIVE_UNSAFE
 */
export async function openAdapter(
  source: string,
  model: LlamaConfig,
  options: OpenAdapterOptions = {},
): Promise<Adapter> {
  const isUrl = /^https?:\/\//i.test(source);
  const name = options.name ?? (isUrl ? shortUrl(source) : basename(source));
  const found = isUrl ? null : await stat(source).catch(() => null);
  if (found?.isDirectory()) return readAdapter(await adapterFolder(source, name), model, { ...options, name });
  if (!isUrl && !found) throw new CodedError("ADAPTER_NOT_FOUND", `${name}: no such file or folder`);

  const archive = { name, missing: "ADAPTER_NOT_FOUND", corrupt: "ADAPTER_CORRUPT" } as const;
  const folder = await temporaryFolder("adapter");
  try {
    let file = source;
    if (isUrl) {
      file = join(folder, "download");
      await download(source, file, { name, maxBytes: maxArchiveBytes, signal: options.signal });
    }
    let kind = await archiveKind(file, archive);
    const inside = join(folder, "inside");
    if (kind === null && (await unpackAnswer(file, inside, { name, signal: options.signal }))) {
      file = inside;
      kind = await archiveKind(file, archive);
    }
    if (kind !== "gzip" && kind !== "tar") {
      throw new CodedError("ADAPTER_NOT_FOUND", `${name}: is not a .tar or .tar.gz archive`, {
        hint: "Give the archive that a training returned (or the JSON that holds it), or the folder that PEFT saved.",
      });
    }
    const unpacked = await mkdtemp(join(folder, "files-"));
    await unpackArchive(file, unpacked, { ...archive, maxBytes: maxArchiveBytes, signal: options.signal });
    return await readAdapter(await adapterFolder(unpacked, name), model, { ...options, name });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
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
