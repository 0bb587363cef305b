// Starts a command of the package from dist/. In a clone that was not built yet it builds first.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** @param name the command's, for messages  @param folder where in dist/ its index.js lies */
export async function start(name, ...folder) {
  const entry = join(root, "dist", ...folder, "index.js");
  if (!existsSync(entry)) {
    // Standard output belongs to the command's result.
    const script = join(root, "scripts", "build-dist.mjs");
    const { status } = spawnSync(process.execPath, [script], { cwd: root, stdio: ["ignore", 2, 2] });
    if (status !== 0) {
      console.error(`${name}: the command has not been built; type \`npm install\` in ${root}`);
      process.exit(1);
    }
  }
  const { main } = await import(pathToFileURL(entry).href);
  process.exitCode = await main(process.argv.slice(2));
}
