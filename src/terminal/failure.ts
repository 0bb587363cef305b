/** What ends a command: the message printed as it stands, an optional second line saying what to do, the exit code. */
export class Failure extends Error {
  readonly hint: string | undefined;
  readonly exitCode: number;

  constructor(message: string, options: { hint?: string; exitCode?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "Failure";
    this.hint = options.hint;
    this.exitCode = options.exitCode ?? 1;
  }
}

/** Words for a system error, as C libraries put them (Node's own text repeats the call and the path). */
export function systemErrorText(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case "ENOENT":
      return "no such file or directory";
    case "EISDIR":
      return "is a directory";
    case "ENOTDIR":
      return "not a directory";
    case "EACCES":
      return "permission denied";
    case "ENOSPC":
      return "no space left on device";
    default:
      return code ?? message;
  }
}
