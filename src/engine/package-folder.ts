import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the package that this file belongs to, whether it runs from src/, from dist/ or bundled into build/. */
export const packageFolder = nearestPackage(dirname(fileURLToPath(import.meta.url)));

/** As its package.json has it: "0.1.0". */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8")) as { version: string }).version;
}

function nearestPackage(folder: string): string {
  const parent = dirname(folder);
  return existsSync(join(folder, "package.json")) || parent === folder ? folder : nearestPackage(parent);
}
