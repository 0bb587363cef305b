import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CodedError } from "../../errors/index.ts";
import { type InputFile, writeDataUrl } from "./data-url-file.ts";
import { nameOf, storedName } from "./download-name.ts";
import type { LocalFiles } from "./local-files.ts";
import type { Fetch } from "./network.ts";
import { inParallel } from "./parallel.ts";
import { type Uploads, uploadedFile } from "./uploads.ts";

/** What a server shares with the process that started it. */
export interface LocalWays {
  readonly files: LocalFiles;
  /** For the addresses that it names. */
  readonly fetch: Fetch;
}

export interface InputFileOptions {
  /** Made when the first file comes. */
  readonly folder: string;
  readonly fetch: Fetch;
  readonly userAgent: string | null;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
  readonly local: LocalWays | null;
  /** Files that are here already. */
  readonly uploads: Uploads;
}

/** Downloads at the same time, per prediction. */
const mostDownloads = 8;

/**
 * Brings the files that `fields` of an input name onto this machine and puts their paths in place of the URLs.
 * `names`: what the client calls each of them, by path.
 * @throws CodedError INPUT_FILE naming the field
 */
export async function fetchInputFiles(
  input: Readonly<Record<string, unknown>>,
  fields: readonly string[],
  options: InputFileOptions,
): Promise<{ input: Record<string, unknown>; names: Record<string, string> }> {
  const result: Record<string, unknown> = { ...input };
  const names: Record<string, string> = {};
  const jobs: (() => Promise<void>)[] = [];
  const add = (place: string, url: string, put: (path: string) => void) => {
    jobs.push(async () => {
      const file = await fetchFile(place, url, options);
      names[file.path] = file.name;
      put(file.path);
    });
  };
  for (const field of fields) {
    const value = input[field];
    if (typeof value === "string") {
      add(field, value, (path) => {
        result[field] = path;
      });
    } else if (Array.isArray(value)) {
      const list = [...value];
      result[field] = list;
      list.forEach((item, index) => {
        add(`${field}/${index}`, item as string, (path) => {
          list[index] = path;
        });
      });
    }
  }
  await inParallel(jobs, mostDownloads);
  return { input: result, names };
}

async function fetchFile(place: string, url: string, options: InputFileOptions): Promise<InputFile> {
  try {
    const upload = Object.hasOwn(options.uploads, place) ? options.uploads[place] : undefined;
    if (upload !== undefined) return uploadedFile(upload);
    const local = options.local?.files.find(url);
    if (local?.path !== undefined) return local;
    if (local !== undefined) return await download(local.url, { ...options, fetch: options.local!.fetch });
    // The scheme's letter case does not matter; the rest of a URL may be megabytes long.
    const scheme = /^(data|https?):/i.exec(url.slice(0, 8))?.[1]?.toLowerCase();
    if (scheme === "data") return await writeDataUrl(url, options.folder);
    if (scheme !== undefined) return await download(url, options);
  } catch (error) {
    throw failure(place, error, options.folder);
  }
  throw failure(place, new Error("a file must be given as a http, https or data URL"));
}

async function download(url: string, options: InputFileOptions): Promise<InputFile> {
  const { folder, fetch, userAgent, maxBytes, signal } = options;
  const headers: Record<string, string> = userAgent === null ? {} : { "user-agent": userAgent };
  const answer = await fetch(url, { method: "GET", headers, signal });
  if (Number(answer.headers["content-length"]) > maxBytes) {
    // Not read to its end: that is what is to be avoided. It complains of that, and nobody else would hear it.
    answer.body.on("error", () => {}).destroy();
    throw tooLarge(maxBytes);
  }
  if (answer.status < 200 || answer.status > 299) {
    await answer.body.dump();
    throw new Error(`the server answered with status ${answer.status}`);
  }
  const name = nameOf(url);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, storedName(name));
  let total = 0;
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      total += chunk.length;
      done(total > maxBytes ? tooLarge(maxBytes) : null, chunk);
    },
  });
  await pipeline(answer.body, meter, createWriteStream(path, { mode: 0o600 }), { signal });
  return { path, name };
}

function tooLarge(maxBytes: number): Error {
  return new Error(`the file is larger than ${maxBytes} bytes`);
}

/** `folder` is ours and of no use to the client. */
function failure(place: string, error: unknown, folder = ""): CodedError {
  const text = error instanceof Error ? error.message || error.name : String(error);
  const reason = folder === "" ? text : text.replaceAll(`${folder}/`, "").replaceAll(folder, "its folder");
  return new CodedError("INPUT_FILE", `input ${JSON.stringify(place)}: ${reason}`, { cause: error });
}
