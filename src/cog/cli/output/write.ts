import { createReadStream } from "node:fs";
import { type FileHandle, open, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { CodedError } from "../../../errors/index.ts";
import { pathBeside } from "../../../temporary/beside.ts";
import { Failure, systemErrorText } from "../../../terminal/failure.ts";
import { say } from "../../../terminal/streams.ts";
import { keepElsewhere } from "./keep.ts";

/** A text, bytes, or a file to copy. */
export type OutputData = string | Buffer | { readonly path: string };

/**
 * Writes a result and says where it is. The bytes go to a temporary file beside it that is renamed at the end, so that
 * nobody ever sees half a file and a failed write leaves the old one. Devices and pipes are written directly. What cannot
 * be written is kept elsewhere.
 * @throws Failure saying where it is kept, TRAINING_OUTPUT for the archive of a training
 */
export async function writeOutput(path: string, data: OutputData, { isTrained = false } = {}): Promise<void> {
  try {
    const existing = await stat(path).catch(() => undefined);
    if (existing && !existing.isFile()) await writeTo(await open(path, "w"), data);
    else await replaceFile(existing ? await realpath(path) : path, data);
  } catch (error) {
    const kept = await keepElsewhere(path, data);
    const options = { cause: error, ...(kept === undefined ? {} : { hint: `It is kept in ${kept}` }) };
    const reason = systemErrorText(error);
    if (!isTrained) throw new Failure(`Failed to write output: open ${path}: ${reason}`, options);
    const message = `the training has ended, but ${path} cannot be written: ${reason}`;
    throw new CodedError("TRAINING_OUTPUT", message, options);
  }
  say(`Written output to: ${path}`);
}

async function replaceFile(path: string, data: OutputData): Promise<void> {
  const temporary = pathBeside(path);
  try {
    await writeTo(await open(temporary, "wx"), data);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function writeTo(file: FileHandle, data: OutputData): Promise<void> {
  try {
    await writeFile(file, typeof data === "string" || Buffer.isBuffer(data) ? data : createReadStream(data.path));
  } finally {
    await file.close();
  }
}
