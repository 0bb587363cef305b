import { createRequire } from "node:module";
import { join } from "node:path";
import { packageFolder } from "../package-folder.ts";

/** Where `npm run tensorflow:install` and `tensorflow:build` put packages: no dependency of the project's own. */
const installed = join(packageFolder, "build", "tensorflow", "package.json");

/**
 * A `require` that finds all of these packages: the project's own, else that of build/tensorflow. Of one place, because the
 * packages of two would not know each other's tensors. @throws what Node throws of the first package missing
 */
export function requireFromWhereAll(...names: readonly string[]): NodeJS.Require {
  const requires = [createRequire(import.meta.url), createRequire(installed)];
  const found = requires.find((require) => names.every((name) => resolves(require, name)));
  if (found) return found;
  for (const name of names) requires[0]!.resolve(name);
  throw new Error(`${names.join(" and ")} lie in different places`);
}

function resolves(require: NodeJS.Require, name: string): boolean {
  try {
    require.resolve(name);
    return true;
  } catch {
    return false;
  }
}
