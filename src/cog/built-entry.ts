import { fileURLToPath } from "node:url";

/** The built program `name` beside the module `url`. From the sources (tests) it is the one in dist/: Node cannot run ours. */
export function builtEntry(name: string, url: string): string {
  const path = fileURLToPath(new URL(name, url));
  if (!url.endsWith(".ts")) return path;
  // The last one: the checkout itself may lie in a folder src/cog.
  const at = path.lastIndexOf("/src/cog/");
  return `${path.slice(0, at)}/dist${path.slice(at + "/src".length)}`;
}
