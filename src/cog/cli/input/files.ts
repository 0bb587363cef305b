import { homedir } from "node:os";
import { join } from "node:path";
import { Failure, systemErrorText } from "../../../terminal/failure.ts";

/** How the files among the inputs reach the model's server. Failures name the input and the path as it was typed. */
export interface InputFiles {
  /** What is sent for `@path` in a file input. */
  file(input: string, path: string): Promise<string>;
  /** What is sent for an address in a file input. */
  address(url: string): string;
  /** What is sent for `@path` in any other input: a data URL, as other clients send it. */
  text(input: string, path: string): Promise<string>;
  /** The server is known to take nothing but URLs in a file input. */
  readonly onlyUrls: boolean;
}

/** `~` is the home folder. */
export function expanded(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}

/** `input "f": open rows.json: no such file or directory` */
export function fileFailure(input: string, step: "open" | "read" | "pack", path: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure(`input "${input}": ${step} ${path}: ${systemErrorText(error)}`, { cause: error });
}
