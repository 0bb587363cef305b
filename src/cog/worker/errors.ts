import { fileURLToPath } from "node:url";
import { isCodedError } from "../../errors/index.ts";
import { UserError } from "../schema/values.ts";

/** What runs from here is this package's: dist/. */
const packageFolder = fileURLToPath(new URL("../..", import.meta.url));

/** The text of `error` in an answer: the message, with its code and hint where it has them, and no stack. */
export function errorText(error: unknown): string {
  if (isCodedError(error)) return `[${error.code}] ${withHint(error.message, error.hint)}`;
  if (error instanceof UserError) return withHint(error.message, error.hint);
  if (error instanceof Error) return error.message || error.name;
  return String(error) || "unknown error";
}

function withHint(message: string, hint: string | undefined): string {
  if (!hint) return message;
  // Behind a list the hint is a line of its own.
  if (message.includes("\n")) return `${message}\n${hint}`;
  const sentence = /[.!?]$/.test(message) ? message : `${message}.`;
  return `${sentence} ${hint.slice(0, 1).toUpperCase()}${hint.slice(1)}${/[.!?`]$/.test(hint) ? "" : "."}`;
}

/**
 * The error with the places in the author's code that led to it; source maps have turned them into those of the
 * TypeScript. Null for what the sender of the input did: that is no fault of the code.
 */
export function stackText(error: unknown): string | null {
  if (isCodedError(error) || error instanceof UserError || !(error instanceof Error)) return null;
  return error.stack === undefined ? null : authorsPart(error.stack);
}

/** Without Node's and this package's own frames; all of them where the author's code is not among them. */
function authorsPart(stack: string): string {
  const lines = stack.split("\n");
  const isFrame = (line: string) => /^ +at /.test(line);
  const isForeign = (line: string) => /\bnode:|<anonymous>\)?$/.test(line) || line.includes(packageFolder);
  const kept = lines.filter((line) => !isFrame(line) || !isForeign(line));
  return kept.some(isFrame) ? kept.join("\n") : stack;
}
