import type { ErrorCode } from "./codes.ts";

export { type ErrorCode, endsProcess, errorCodes } from "./codes.ts";

/** Marks our errors across copies of this module (the built package and an author's sources are loaded apart). */
const brand = Symbol.for("llama-lora-cog.CodedError");

/** An error a user can meet: a stable code, what was wrong with which input, and (hint) what to do. */
export class CodedError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CodedError";
    this.code = code;
    this.hint = options.hint;
    Object.defineProperty(this, brand, { value: true });
  }
}

export function isCodedError(value: unknown): value is CodedError {
  return typeof value === "object" && value !== null && brand in value;
}
