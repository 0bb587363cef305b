import { isCodedError } from "../../errors/index.ts";
import { UserError } from "../schema/values.ts";

/** The text of `error` in an answer: the message, with its code and hint where it has them, and no stack. */
export function errorText(error: unknown): string {
  if (isCodedError(error)) return `[${error.code}] ${withHint(error.message, error.hint)}`;
  if (error instanceof UserError) return withHint(error.message, error.hint);
  if (error instanceof Error) return error.message || error.name;
  return String(error) || "unknown error";
}

function withHint(message: string, hint: string | undefined): string {
  if (!hint) return message;
  const sentence = /[.!?]$/.test(message) ? message : `${message}.`;
  return `${sentence} ${hint.slice(0, 1).toUpperCase()}${hint.slice(1)}${/[.!?`]$/.test(hint) ? "" : "."}`;
}

/** Is the stack of use to someone who reads the log? Not for what the sender of the input did. */
export function stackText(error: unknown): string | null {
  if (isCodedError(error) || error instanceof UserError || !(error instanceof Error)) return null;
  return error.stack ?? null;
}
