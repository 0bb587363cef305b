import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { CodedError } from "../../errors/index.ts";
import { messageAt } from "./source-place.ts";

/** Code of the error that hooks.ts throws for a file that is no TypeScript or JavaScript. */
export const syntaxCode = "ERR_AUTHOR_SYNTAX";

/**
 * What is told of an author's module that cannot be imported: one message with the file, the line and its text where the
 * module itself is wrong. What its code throws while it is loaded stays as it is.
 */
export function loadFailure(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === syntaxCode) return invalid(message, error);
  if (code === "ERR_MODULE_NOT_FOUND") return invalid(missingImport(message), error);
  return invalid(linkingFailure(error), error) ?? error;
}

function invalid(message: string | null, cause: Error): CodedError | null {
  return message === null ? null : new CodedError("PREDICTOR_INVALID", message, { cause });
}

/** Node puts the place of an import that finds no such export before the stack: file:line, the text, a caret. */
function linkingFailure({ message, stack = "" }: Error): string | null {
  const found = /^(\S.*):(\d+)\n(.*)\n( *)\^/.exec(stack);
  if (found === null) return null;
  const [, file = "", line, text = "", before = ""] = found;
  const path = file.startsWith("file:") ? fileURLToPath(file) : file;
  return messageAt({ file: path, line: Number(line), column: before.length, text }, message);
}

function missingImport(message: string): string {
  const [, name = "", importer = ""] = /'([^']+)' imported from (\S.*)$/.exec(message) ?? [];
  if (!existsSync(importer)) return message;
  const lines = readFileSync(importer, "utf8").split("\n");
  const at = lines.findIndex((text) => /\b(from|import)\b/.test(text) && text.includes(basename(name)));
  if (at < 0) return message;
  const text = lines[at]!;
  const what = message.replace(` imported from ${importer}`, "");
  return messageAt({ file: importer, line: at + 1, column: text.lastIndexOf(basename(name)), text }, what);
}
