import { existsSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { calledAs } from "../../../terminal/called-as.ts";
import { Failure, systemErrorText } from "../../../terminal/failure.ts";
import { say } from "../../../terminal/streams.ts";
import { projectFiles } from "./templates.ts";

/** `cog init`: writes a small project into the working directory; files that are there stay as they are. */
export function init(): void {
  for (const [name, text] of projectFiles(basename(process.cwd()))) {
    if (existsSync(name)) {
      say(`Skipped existing ${name}`);
      continue;
    }
    try {
      writeFileSync(name, text, { flag: "wx" });
    } catch (error) {
      throw new Failure(`Failed to write ${name}: ${systemErrorText(error)}`);
    }
    say(`Creating ${name}`);
  }
  say();
  say("Try it:");
  for (const words of ["predict -i name=Ada", "train -i dataset=@README.md", "serve"]) say(`  ${calledAs()} ${words}`);
}
