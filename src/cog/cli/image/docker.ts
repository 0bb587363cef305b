import { spawn } from "node:child_process";
import { once } from "node:events";
import { Failure } from "../../../terminal/failure.ts";

/** Runs `docker` with its messages on standard error. @throws Failure when it is not there or does not succeed */
export async function docker(words: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<void> {
  // Standard output belongs to the command's result.
  const child = spawn("docker", words, { stdio: ["inherit", 2, 2], env });
  const [code, signal] = (await once(child, "exit").catch((error: unknown) => {
    throw notThere(error);
  })) as [number | null, NodeJS.Signals | null];
  if (code !== 0) throw new Failure(`docker ${words[0]} failed (${signal ?? `exit code ${code}`})`);
}

/** What a `docker` command prints. @throws Failure */
export async function dockerOutput(words: readonly string[]): Promise<string> {
  const child = spawn("docker", words, { stdio: ["ignore", "pipe", 2] });
  let text = "";
  child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  const [code] = (await once(child, "close").catch((error: unknown) => {
    throw notThere(error);
  })) as [number | null];
  if (code !== 0) throw new Failure(`docker ${words[0]} failed (exit code ${code})`);
  return text.trim();
}

function notThere(error: unknown): unknown {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") return error;
  return new Failure("docker is not installed, or not on the PATH", {
    hint: "Install Docker. Without it `cog predict`, `cog train` and `cog serve` run the model on this machine.",
  });
}
