import { CodedError } from "../errors/index.ts";

/** What keeps anybody from storing a file, by the code of the error; others are about the file itself. */
const reasons: Readonly<Record<string, string>> = {
  ENOSPC: "it is full",
  EDQUOT: "its quota is used up",
  EROFS: "it is read-only",
  EACCES: "it may not be written to",
  EPERM: "it may not be written to",
  ENOTDIR: "it is no folder",
  ENOENT: "it is not there",
  EMFILE: "too many files are open",
  ENFILE: "too many files are open",
  EIO: "its disk does not work",
};
/** A connection may fail with the same codes. */
const storing: ReadonlySet<unknown> = new Set(["mkdir", "open", "write"]);

/** The CodedError TEMPORARY_FOLDER, without any path, for an error of storing in the temporary folder; null for any other. */
export function storageFailure(error: unknown): CodedError | null {
  if (!(error instanceof Error)) return null;
  const { code = "", syscall } = error as NodeJS.ErrnoException;
  if (!storing.has(syscall) || !Object.hasOwn(reasons, code)) return null;
  return new CodedError("TEMPORARY_FOLDER", `the temporary folder cannot be used: ${reasons[code]} (${code})`, {
    hint: "Free space in it, or set TMPDIR to a folder that can be written to.",
    cause: error,
  });
}

/** The work's result. @throws CodedError TEMPORARY_FOLDER where it fails to store */
export async function inStorage<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    throw storageFailure(error) ?? error;
  });
}
