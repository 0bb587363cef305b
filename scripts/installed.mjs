// Brings a fresh clone to the point where everything can run: packages, the native engine, dist/.
// Plain JavaScript on Node's own modules, because it runs before anything is installed.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs a command in the project's folder with its output shown; ends this process with its exit code if it fails. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (result.error) {
    console.error(`${command}: ${result.error.message}`);
    process.exit(1);
  }
  if (result.status !== 0) process.exit(result.status ?? 1);
}

/** Installs packages when package-lock.json has changed since the last time, and builds what is missing: dist/ and the engine. */
export function ensureInstalled({ engine = true } = {}) {
  const stamp = join(root, "node_modules", ".installed-lock");
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  const installed = existsSync(stamp) && readFileSync(stamp, "utf8") === lock;
  if (!installed) {
    console.log("installing packages (npm install)");
    // Development packages are needed for dist/ too: they hold the TypeScript compiler. Not `npm ci`: it refuses a lock
    // file without the optional binaries of every other platform, and not every registry has them all.
    run("npm", ["install", "--no-save", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"]);
    writeFileSync(stamp, lock);
  }
  if (engine) run(process.execPath, [join(root, "scripts", "build-native.mjs")]);
  run(process.execPath, [join(root, "scripts", "build-dist.mjs")]);
}
