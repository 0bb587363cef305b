import { CodedError, errorCodes } from "../../errors/index.ts";

/** What the addon throws: an Error whose `code` is one of the project's, or (a defect) none. */
export function toCodedError(error: Error): Error {
  if (error instanceof CodedError) return error;
  const code = (error as { code?: unknown }).code;
  if (typeof code !== "string" || !Object.hasOwn(errorCodes, code)) return error;
  return new CodedError(code as keyof typeof errorCodes, error.message, { cause: error });
}

/** The result of a call of the addon, whose errors become CodedErrors. */
export async function withCodes<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw error instanceof Error ? toCodedError(error) : error;
  }
}
