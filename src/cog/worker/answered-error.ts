import { basename, dirname } from "node:path";
import { errorText } from "./errors.ts";

/** The text of `error` in an answer, without the machine's folders. */
export function answeredError(error: unknown, tempDir: string): string {
  let text = errorText(error);
  for (const path of pathsOf(error)) text = text.replaceAll(path, basename(path));
  const run = dirname(tempDir);
  for (const folder of [tempDir, `${run}/inputs`, run, process.cwd()]) text = text.replaceAll(`${folder}/`, "");
  return text;
}

/** Those that Node names in an error of the file system. */
function pathsOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const { path, dest } = error as { path?: unknown; dest?: unknown };
  return [path, dest].filter((value): value is string => typeof value === "string" && value.includes("/"));
}
