import { basename, dirname } from "node:path";
import type { Inputs } from "../schema/field.ts";
import { errorText } from "./errors.ts";
import type { RunRequest } from "./protocol.ts";

/** A shorter secret would be found in the middle of ordinary words; it protects nothing anyway. */
const shortestSecret = 4;
const mask = "**********";

/** Keeps a run's secrets out of logs and errors, and the machine's folders out of errors. */
export class Discretion {
  readonly #secrets: readonly string[];
  readonly #tempDir: string;

  constructor(inputs: Inputs, { input, tempDir }: Pick<RunRequest, "input" | "tempDir">) {
    this.#secrets = Object.entries(inputs)
      .filter(([, { spec }]) => (spec.element ?? spec).kind === "secret")
      .flatMap(([name]) => (Object.hasOwn(input, name) ? input[name] : null))
      .filter((value): value is string => typeof value === "string" && value.length >= shortestSecret)
      // One may be the beginning of another.
      .sort((a, b) => b.length - a.length);
    this.#tempDir = tempDir;
  }

  withoutSecrets(text: string): string {
    return this.#secrets.reduce((shown, secret) => shown.replaceAll(secret, mask), text);
  }

  /** The text of `error` in an answer. */
  errorText(error: unknown): string {
    let text = errorText(error);
    for (const path of pathsOf(error)) text = text.replaceAll(path, basename(path));
    const run = dirname(this.#tempDir);
    for (const folder of [this.#tempDir, `${run}/inputs`, run, process.cwd()]) text = text.replaceAll(`${folder}/`, "");
    return this.withoutSecrets(text);
  }
}

/** Those that Node names in an error of the file system. */
function pathsOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const { path, dest } = error as { path?: unknown; dest?: unknown };
  return [path, dest].filter((value): value is string => typeof value === "string" && value.includes("/"));
}
