import { packageVersion } from "../../engine/package-folder.ts";
import { endWithReader, report } from "../../terminal/report.ts";
import { program } from "./program.ts";

/** Runs the command line `argv` (without node and script) and returns its exit code; all messages are printed. */
export async function main(argv: readonly string[]): Promise<number> {
  endWithReader();
  try {
    await program(packageVersion()).parseAsync(argv.length === 0 ? ["--help"] : [...argv], { from: "user" });
    return 0;
  } catch (error) {
    return report(error);
  }
}
