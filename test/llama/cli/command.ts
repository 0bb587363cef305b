import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { vi } from "vitest";
import { type LinearName, linearNames } from "../../../src/engine/config.ts";
import { writeAdapterFolder } from "../../../src/llama/adapter/write.ts";
import { openCheckpoint } from "../../../src/llama/checkpoint/index.ts";
import { main } from "../../../src/llama/cli/index.ts";
import { type Result, resultOf } from "../../cog/cli/command.ts";
import { modulesOf } from "../adapter/small-model.ts";

const root = resolve(import.meta.dirname, "..", "..", "..");
export const tiny = join(root, "weights", "tiny");

/** An empty folder, and the command in it. */
export class CommandFolder {
  readonly path = mkdtempSync(join(tmpdir(), "llama-lora-command-"));

  /** Runs the command in this process, which starts no other. */
  async run(...words: string[]): Promise<Result> {
    const result = { exit: null, stdout: "", stderr: "" } as Result;
    const before = process.cwd();
    const spies = (["stdout", "stderr"] as const).map((name) => {
      process[name].setMaxListeners(0);
      return vi.spyOn(process[name], "write").mockImplementation((text, ...rest) => {
        result[name] += text;
        const taken = rest.find((value) => typeof value === "function");
        if (taken) (taken as () => void)();
        return true;
      });
    });
    process.chdir(this.path);
    try {
      result.exit = await main(words);
    } finally {
      process.chdir(before);
      for (const spy of spies) spy.mockRestore();
    }
    return result;
  }

  /** Starts the command as users do. */
  start(...words: string[]): Promise<Result> {
    const script = join(root, "scripts", "llama-lora.mjs");
    return resultOf(spawn(process.execPath, [script, ...words], { cwd: this.path, stdio: ["ignore", "pipe", "pipe"] }));
  }

  file(...names: string[]): string {
    return join(this.path, ...names);
  }

  /** All files in the folder, hidden ones too. */
  files(): string[] {
    return readdirSync(this.path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(this.path.length + 1))
      .sort();
  }

  /** Writes an adapter for the embedded model; its tensors are sines. */
  async adapter(name: string, linears: readonly LinearName[] = ["q_proj", "v_proj"], rank = 2, alpha = 4) {
    const { config } = await openCheckpoint(tiny);
    const modules = modulesOf(config, linears, rank, alpha);
    mkdirSync(this.file(name));
    const targetModules = linearNames.filter((linear) => linears.includes(linear));
    const adapter = { modules, rank, alpha, dropout: 0, targetModules, baseModel: "llama-lora-cog/tiny" };
    await writeAdapterFolder(this.file(name), adapter, config);
    return modules;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
