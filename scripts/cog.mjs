#!/usr/bin/env node
// The `cog` command. In a clone that was not built yet it builds first; everything else is in src/cog/cli.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const entry = join(root, "dist", "cog", "cli", "index.js");

if (!existsSync(entry)) {
  // Standard output belongs to the command's result.
  const script = join(root, "scripts", "build-dist.mjs");
  const { status } = spawnSync(process.execPath, [script], { cwd: root, stdio: ["ignore", 2, 2] });
  if (status !== 0) {
    console.error(`cog: the command has not been built; type \`npm install\` in ${root}`);
    process.exit(1);
  }
}

const { main } = await import(pathToFileURL(entry).href);
process.exitCode = await main(process.argv.slice(2));
