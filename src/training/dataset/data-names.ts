import { posix } from "node:path";

/** Names of files that hold rows; each also compressed. */
const dataName = /\.(jsonl?|ndjson|csv|tsv)(\.gz)?$/i;
/** What Hugging Face keeps beside a data set. */
const descriptions = /^(dataset_infos?|dataset_dict|state|config|package|tsconfig)\.json$/i;
const mostNamed = 5;

/** Whether a file of a folder or archive is looked at: neither hidden nor a companion that macOS makes. */
export function isVisible(path: string): boolean {
  return !path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX");
}

export function isDataName(path: string): boolean {
  const name = posix.basename(path);
  return dataName.test(name) && !descriptions.test(name);
}

/** Files of a folder or archive that are read, in the order of their names, and a line about them where it is needed. */
export interface Chosen {
  readonly files: readonly string[];
  readonly note: string | null;
}

/**
 * All files that are named like data; else the only one there is.
 * @returns null where there is neither
 */
export function chooseFiles(paths: readonly string[], name: string): Chosen | null {
  const visible = paths.filter(isVisible).sort();
  const named = visible.filter(isDataName);
  const files = named.length > 0 || visible.length !== 1 ? named : visible;
  if (files.length === 0) return null;
  const skipped = visible.filter((path) => !files.includes(path));
  const parts = [
    ...(files.length > 1 ? [`${files.length} files are read in the order of their names: ${listed(files)}`] : []),
    ...(skipped.length > 0 ? [`not named like data and left out: ${listed(skipped)}`] : []),
  ];
  return { files, note: parts.length === 0 ? null : `${name}: ${parts.join("; ")}` };
}

/** `a, b and 7 more` */
export function listed(names: readonly string[], most = mostNamed): string {
  const more = names.length - most;
  return `${names.slice(0, most).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
