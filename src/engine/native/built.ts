import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { CodedError } from "../../errors/index.ts";
import { packageFolder as root } from "../package-folder.ts";

/** Where the addon lies: build/native, or a folder of the user's cache. */
let addonFolder = join(root, "build", "native");

/** Plain JavaScript, because the package is built with it before there is anything else. */
interface NativeSources {
  hashOfSources(options: { tests: boolean }): string;
  addonFolders(hash: string): string[];
  isBuilt(output: string, hash: string): boolean;
}

/** What scripts/build-native.mjs --json prints. */
interface BuildOutcome {
  addon?: string;
  error?: string;
  hint?: string;
}

/** A module built beside the addon, or for the GPU in build/native; null where there is none. */
export function findBuilt(name: string): string | null {
  const folders = [addonFolder, join(root, "build", "native")];
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file)) ?? null;
}

/**
 * The addon's file. Where there is none of the package's present sources it is built, which takes a minute or two; the
 * progress goes to standard error. An image holds no sources, and what is built in it is taken as it is.
 * @throws CodedError ENGINE_UNAVAILABLE
 */
export async function builtAddon(): Promise<string> {
  const file = existsSync(join(root, "native")) ? await upToDate() : join(addonFolder, "llama_cpu.node");
  if (!existsSync(file)) {
    const hint =
      "its sources are not here: install the package again; an image of `cog init` wants --build-arg ENGINE=1";
    throw new CodedError("ENGINE_UNAVAILABLE", "the native engine has not been built", { hint });
  }
  addonFolder = dirname(file);
  return file;
}

async function upToDate(): Promise<string> {
  const script = join(root, "scripts", "native-sources.mjs");
  const { hashOfSources, addonFolders, isBuilt } = (await import(pathToFileURL(script).href)) as NativeSources;
  const hash = hashOfSources({ tests: false });
  const files = addonFolders(hash).map((folder) => join(folder, "llama_cpu.node"));
  return files.find((file) => isBuilt(file, hash)) ?? (await build());
}

async function build(): Promise<string> {
  const script = join(root, "scripts", "build-native.mjs");
  const child = spawn(process.execPath, [script, "--json"], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  // Not inherited: in a worker what is printed belongs to the log.
  child.stderr.on("data", (chunk: Buffer) => process.stderr.write(chunk));
  const end = await new Promise<unknown>((resolve) =>
    child.on("error", resolve).on("close", (code, signal) => resolve(signal ?? code)),
  );
  const outcome = (text.trim() === "" ? {} : JSON.parse(text)) as BuildOutcome;
  if (outcome.addon !== undefined) return outcome.addon;
  const reason = outcome.error ?? `scripts/build-native.mjs ended with ${end}`;
  throw new CodedError("ENGINE_UNAVAILABLE", `the native engine cannot be built: ${reason}`, {
    hint: outcome.hint ?? "type: npm run build",
  });
}
