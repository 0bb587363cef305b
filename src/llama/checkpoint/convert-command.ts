import { relative, resolve, sep } from "node:path";

/**
 * The command that converts a folder into `weights`, to be pasted into a shell in this process's working folder.
 * Where the folder is `weights` itself its files have to move first.
 */
export function convertCommand(folder: string): string {
  const convert = (from: string) => `npx llama-lora convert ${from} weights`;
  if (resolve(folder) !== resolve("weights")) return convert(quoted(shortest(folder)));
  const files = "weights/consolidated.* weights/params.json weights/tokenizer.model";
  return `mkdir unconverted-weights && mv ${files} unconverted-weights && ${convert("unconverted-weights")}`;
}

/** Relative where it lies below the working folder. */
function shortest(folder: string): string {
  const below = relative(process.cwd(), folder);
  if (below === "") return ".";
  if (below === ".." || below.startsWith(`..${sep}`)) return folder;
  return below.startsWith("-") ? `.${sep}${below}` : below;
}

/** A word as a POSIX shell takes it. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
