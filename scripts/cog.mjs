#!/usr/bin/env node
// The `cog` command. In a clone that was not built yet it builds first; everything else is in src/cog/cli.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const entry = join(root, "dist", "cog", "cli", "index.js");

if (!existsSync(entry)) {
  for (const script of ["build-dist.mjs", "build-native.mjs"]) {
    // Standard output belongs to the command's result.
    const { status } = spawnSync(process.execPath, [join(root, "scripts", script)], {
      cwd: root,
      stdio: ["ignore", 2, 2],
    });
    if (status !== 0) {
      console.error(`cog: scripts/${script} failed; run \`npm install\` in ${root}`);
      process.exit(1);
    }
  }
}

const { main } = await import(pathToFileURL(entry).href);
process.exitCode = await main(process.argv.slice(2));
