import { CodedError, type ErrorCode, isCodedError } from "../../errors/index.ts";
import { type InputFile, writeDataUrl } from "./data-url-file.ts";

/** A file that came inside a body, or why it cannot be had. */
export type Upload = InputFile | UploadFailure;

interface UploadFailure {
  readonly code: ErrorCode;
  readonly error: string;
  readonly hint?: string;
}

/** Files that came inside a body, by their places in the input: `dataset`, `pictures/0`. */
export type Uploads = Readonly<Record<string, Upload>>;

/** Of one list in an input: each is a file, or a download, of its own. A longer list is refused. */
export const mostFiles = 1000;

/** A shorter data URL is no burden; it is read with the other input files. */
const shortest = 1024;
/** What is left of a data URL where the input is shown. */
const shownLength = 100;

/**
 * Writes the data URLs of file inputs into `folder` and leaves their beginnings in the input, which is changed in place.
 * `taken`: UTF-16 units that are gone from it.
 */
export async function takeUploads(
  input: Record<string, unknown>,
  fileFields: readonly string[],
  folder: string,
): Promise<{ uploads: Uploads; taken: number }> {
  const uploads: Record<string, Upload> = {};
  let taken = 0;
  const take = async (place: string, value: unknown, isRefused = false): Promise<unknown> => {
    if (typeof value !== "string" || value.length < shortest || !/^data:/i.test(value)) return value;
    if (!isRefused) uploads[place] = await writeDataUrl(value, folder).catch(failureOf);
    taken += value.length - shownLength;
    return `${value.slice(0, shownLength)}…`;
  };
  for (const field of fileFields) {
    if (!Object.hasOwn(input, field)) continue;
    const value = input[field];
    if (Array.isArray(value)) {
      const isRefused = value.length > mostFiles;
      for (const index of value.keys()) value[index] = await take(`${field}/${index}`, value[index], isRefused);
    } else input[field] = await take(field, value);
  }
  return { uploads, taken };
}

/** @throws CodedError INPUT_FILE, TEMPORARY_FOLDER where the file could not be had */
export function uploadedFile(upload: Upload): InputFile {
  if (!("error" in upload)) return upload;
  throw new CodedError(upload.code, upload.error, upload.hint === undefined ? {} : { hint: upload.hint });
}

/** The parts of an error that a thread can hand over. */
function failureOf(error: unknown): UploadFailure {
  if (isCodedError(error)) {
    const { code, message, hint } = error;
    return { code, error: message, ...(hint === undefined ? {} : { hint }) };
  }
  // The words of the file system would name our folders.
  return { code: "INPUT_FILE", error: `it cannot be stored (${(error as NodeJS.ErrnoException).code ?? "error"})` };
}
