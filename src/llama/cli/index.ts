import { readFileSync } from "node:fs";
import { endWithReader, report } from "../../terminal/report.ts";
import { program } from "./program.ts";

const packageFile = new URL("../../../package.json", import.meta.url);

/** Runs the command line `argv` (without node and script) and returns its exit code; all messages are printed. */
export async function main(argv: readonly string[]): Promise<number> {
  const { version } = JSON.parse(readFileSync(packageFile, "utf8")) as { version: string };
  endWithReader();
  try {
    await program(version).parseAsync(argv.length === 0 ? ["--help"] : [...argv], { from: "user" });
    return 0;
  } catch (error) {
    return report(error);
  }
}
