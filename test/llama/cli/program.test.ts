import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lastLine } from "../../cog/cli/command.ts";
import { CommandFolder } from "./command.ts";

let folder: CommandFolder;
beforeEach(() => {
  folder = new CommandFolder();
});
afterEach(() => folder.remove());

describe("llama-lora", () => {
  it("explains itself, each command with an example", async () => {
    const { exit, stdout } = await folder.run();
    expect(exit).toBe(0);
    const commands = stdout.matchAll(/^ {2}(\w+) .*\[options\]/gm);
    expect((await folder.run("--help")).stdout).toContain("Examples:\n  llama-lora convert ");
    for (const [, command] of commands) {
      if (command === "help") continue;
      const help = await folder.run(command!, "--help");
      expect(help.stdout).toContain(`Examples:\n  llama-lora ${command} `);
      expect(help.exit).toBe(0);
    }
  });

  it("ends with 1 and the help for a command that it does not have", async () => {
    const { exit, stderr } = await folder.run("mix");
    expect(lastLine(stderr)).toContain("unknown command 'mix'");
    expect(exit).toBe(1);
  });
});
