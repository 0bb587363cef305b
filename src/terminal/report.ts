import { CommanderError } from "commander";
import { isCodedError } from "../errors/index.ts";
import { asCalled } from "./called-as.ts";
import { Failure } from "./failure.ts";
import { say } from "./streams.ts";

/** A reader that has seen enough (`cog predict … | head`) ends the command; that is no error. */
export function endWithReader(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
}

/** Prints one message for a person and returns the exit code. Only a fault of the command itself shows a stack. */
export function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode;
  if (error instanceof Failure) {
    if (error.message !== "") say(asCalled(error.message));
    if (error.hint) say(asCalled(error.hint));
    return error.exitCode;
  }
  if (isCodedError(error)) {
    say(asCalled(`error [${error.code}]: ${error.message}`));
    if (error.hint) say(asCalled(error.hint));
    return 1;
  }
  say(error instanceof Error ? error.stack : String(error));
  return 1;
}
