import { readFileSync } from "node:fs";
import { CommanderError } from "commander";
import { isCodedError } from "../../errors/index.ts";
import { asCalled } from "./called-as.ts";
import { Failure } from "./failure.ts";
import { program } from "./program.ts";
import { print, say } from "./terminal.ts";

const packageFile = new URL("../../../package.json", import.meta.url);

/** Runs the command line `argv` (without node and script) and returns its exit code; all messages are printed. */
export async function main(argv: readonly string[]): Promise<number> {
  const { version } = JSON.parse(readFileSync(packageFile, "utf8")) as { version: string };
  // A reader that has seen enough (`cog predict … | head`) ends the command; that is no error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  try {
    await program(version).parseAsync(wanted(argv), { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError && error.code === "commander.helpDisplayed") await explainInputs(argv);
    return report(error);
  }
}

/** A bare `cog` asks what there is: that is help, and no mistake. */
function wanted(argv: readonly string[]): string[] {
  return argv.every((word) => word === "--debug" || word === "--no-color") ? [...argv, "--help"] : [...argv];
}

/** `--help` of a run lists the model's own inputs too. */
async function explainInputs(argv: readonly string[]): Promise<void> {
  const mode = argv.includes("train") ? "train" : /\b(predict|run)\b/.test(argv.join(" ")) ? "predict" : undefined;
  if (mode !== undefined) await print(await (await import("./commands/inputs-help.ts")).inputsHelp(mode));
}

/** Prints one message for a person and returns the exit code. Only a fault of the command itself shows a stack. */
function report(error: unknown): number {
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
