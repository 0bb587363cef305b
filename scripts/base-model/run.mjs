// Bundles a script of this folder with everything it imports from src, and runs it: node scripts/base-model/run.mjs train
import { spawn } from "node:child_process";
import { join, resolve } from "node:path";
import { build } from "esbuild";

const root = resolve(import.meta.dirname, "..", "..");
const [name, ...args] = process.argv.slice(2);
if (!name) {
  console.error("usage: node scripts/base-model/run.mjs <train-tokenizer | train | examine>");
  process.exit(2);
}
const outfile = join(root, "build", "base-model", `${name}.mjs`);
await build({
  entryPoints: [join(import.meta.dirname, `${name}.ts`)],
  outfile,
  bundle: true,
  platform: "node",
  format: "esm",
  packages: "external",
  logLevel: "warning",
});
const child = spawn(process.execPath, [outfile, ...args], { cwd: root, stdio: "inherit" });
child.once("exit", (code) => process.exit(code ?? 1));
