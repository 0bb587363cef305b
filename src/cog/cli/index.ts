import { readFileSync } from "node:fs";
import { CommanderError } from "commander";
import { endWithReader, report } from "../../terminal/report.ts";
import { print } from "../../terminal/streams.ts";
import { program } from "./program.ts";

const packageFile = new URL("../../../package.json", import.meta.url);

/** Runs the command line `argv` (without node and script) and returns its exit code; all messages are printed. */
export async function main(argv: readonly string[]): Promise<number> {
  const { version } = JSON.parse(readFileSync(packageFile, "utf8")) as { version: string };
  endWithReader();
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
