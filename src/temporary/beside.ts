import { dirname, join } from "node:path";
import { removeAbandoned } from "./abandoned.ts";
import { ownedName } from "./owned-name.ts";

/**
 * A new hidden path in the folder of `path`, for what is renamed to `path` once it is whole; whoever makes it removes it.
 * What processes that have died left there is removed meanwhile.
 */
export function pathBeside(path: string): string {
  const folder = dirname(path);
  void removeAbandoned(folder);
  return join(folder, `.${ownedName("output")}`);
}
