// What the native engine is built from, and the folders that a build of it may lie in.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { userCache } from "./folders.mjs";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const native = join(root, "native");

/** A hash of every file that goes into the build; two trees with the same files have the same hash, whatever their dates. */
export function hashOfSources({ tests }) {
  const files = readdirSync(native, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => tests || !file.startsWith(join(native, "test")));
  const hash = createHash("sha256");
  for (const file of [...files.sort(), join(root, "scripts", "build-native.mjs")]) {
    hash.update(`${relative(root, file)}\0`).update(createHash("sha256").update(readFileSync(file)).digest());
  }
  // A build is also bound to the machine type and to where the project lies (CMake's cache holds absolute paths); where MPI
  // is installed later, its module is still to be built.
  return hash.update(`${process.platform} ${process.arch} ${root} ${hasMpi()}`).digest("hex");
}

function hasMpi() {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, "mpicxx")));
}

/** The package's own folder, then the user's, for packages that cannot be written. */
export function addonFolders(hash) {
  return [join(root, "build", "native"), userCache(`native-${hash.slice(0, 16)}`)];
}

/** Whether `output` was made from the sources of this hash; the stamp is written when all else is done. */
export function isBuilt(output, hash) {
  const stamp = stampOf(output);
  return existsSync(output) && existsSync(stamp) && readFileSync(stamp, "utf8") === hash;
}

export const stampOf = (output) => join(dirname(output), "sources.sha256");
