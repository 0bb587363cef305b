import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { mediaTypeOf } from "../media-types.ts";
import type { LocalFiles } from "./local-files.ts";
import type { Fetch } from "./network.ts";
import { inParallel } from "./parallel.ts";

export interface OutputFileOptions {
  readonly uploadUrl: string | null;
  readonly fetch: Fetch;
  readonly predictionId: string;
  readonly signal: AbortSignal;
  /** Takes files of any size; null: files travel in the answer. */
  readonly local: LocalFiles | null;
}

/** A value in which the places of files hold null, and those files. */
export interface Marked {
  readonly value?: unknown;
  readonly files?: readonly { readonly at: readonly (string | number)[]; readonly path: string }[];
}

const uploadLimitMs = 25_000;
/** Uploads at the same time, per value. */
const mostUploads = 8;
/** A text of Node ends at 2^29 characters: base64 of 380 MB leaves room for the rest of an answer. */
const largestInAnswer = 380_000_000;

/**
 * Puts what clients can use in place of the files of a value: data URLs, or the URLs they were uploaded to.
 * Files inside objects stay data URLs, as Cog's clients expect of a training's weights. One that fails keeps no other from
 * being uploaded, as with Cog.
 * @throws CodedError of the first file that failed: OUTPUT_INVALID when it cannot be read, OUTPUT_UPLOAD
 */
export async function resolveOutputFiles(marked: Marked, options: OutputFileOptions): Promise<unknown> {
  const holder = { value: marked.value ?? null };
  const failures: unknown[] = [];
  const jobs = (marked.files ?? []).map(({ at, path }, index) => async () => {
    try {
      options.signal.throwIfAborted();
      put(holder, ["value", ...at], await publish(path, at, options));
    } catch (error) {
      failures[index] = error;
    }
  });
  await inParallel(jobs, mostUploads);
  for (const index in failures) throw failures[index];
  return holder.value;
}

async function publish(path: string, at: readonly (string | number)[], options: OutputFileOptions): Promise<string> {
  const { local, uploadUrl } = options;
  const readable = <T>(work: Promise<T>) =>
    work.catch((error) => {
      throw unreadable(path, error);
    });
  if (local?.takesOutputs) return readable(local.keep(path));
  const bytes = await readable(readFile(path));
  const isNested = at.some((part) => typeof part === "string");
  return uploadUrl === null || isNested ? dataUrl(path, bytes) : upload(path, bytes, options);
}

function unreadable(path: string, error: unknown): CodedError {
  const reason = (error as NodeJS.ErrnoException).code ?? "error";
  return new CodedError("OUTPUT_INVALID", `the output file ${basename(path)} cannot be read (${reason})`, {
    cause: error,
  });
}

function dataUrl(path: string, bytes: Buffer): string {
  if (bytes.length > largestInAnswer) {
    const sizes = `${bytes.length} bytes; an answer holds ${largestInAnswer}`;
    throw new CodedError("OUTPUT_INVALID", `the output file ${basename(path)} has ${sizes}`, {
      hint: "Answer the file by itself and start the server with --upload-url, or run the model with `cog` in its folder.",
    });
  }
  return `data:${mediaTypeOf(path)};base64,${bytes.toString("base64")}`;
}

async function upload(path: string, bytes: Buffer, options: OutputFileOptions): Promise<string> {
  const { uploadUrl, fetch, predictionId, signal } = options;
  const name = encodeURIComponent(basename(path));
  const target = `${uploadUrl}${uploadUrl!.endsWith("/") ? "" : "/"}${name}`;
  const failed = (reason: string, cause?: unknown) =>
    new CodedError("OUTPUT_UPLOAD", `Failed to upload output: ${reason}`, { cause });
  try {
    const answer = await fetch(target, {
      method: "PUT",
      headers: { "content-type": mediaTypeOf(path), "x-prediction-id": headerText(predictionId) },
      body: bytes,
      signal: AbortSignal.any([signal, AbortSignal.timeout(uploadLimitMs)]),
    });
    await answer.body.dump();
    if (answer.status < 200 || answer.status > 299) throw failed(`upload returned status ${answer.status}`);
    const location = answer.headers.location;
    const url = new URL(typeof location === "string" ? location : answer.url, answer.url);
    url.search = "";
    return url.href;
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw failed(error instanceof Error ? error.message : String(error), error);
  }
}

/** An id is any text; a header is not. */
function headerText(id: string): string {
  return /^[\x20-\x7e]{0,1024}$/.test(id) ? id : encodeURIComponent(id.slice(0, 256).replace(/\p{Surrogate}/gu, ""));
}

function put(holder: object, at: readonly (string | number)[], value: string): void {
  let target = holder as Record<string | number, unknown>;
  for (const part of at.slice(0, -1)) target = target[part] as typeof target;
  target[at.at(-1)!] = value;
}
