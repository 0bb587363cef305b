// Builds dist/ (JavaScript and types of src/) with the TypeScript compiler; quiet, and done at once
// when nothing has changed. Plain JavaScript on Node's own modules: npm runs it while installing.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, "dist");
const stamp = join(dist, ".built-from");
const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
const sources = ["src"];

function filesIn(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

/** Of all that goes in: names and bytes of the sources, the settings, the compiler's version. */
function fingerprint() {
  const hash = createHash("sha256");
  const settings = ["tsconfig.json", "tsconfig.build.json", "node_modules/typescript/package.json"];
  const files = [
    ...sources.flatMap((folder) => filesIn(join(root, folder))),
    ...settings.map((file) => join(root, file)),
  ];
  for (const file of files) {
    if (!existsSync(file)) continue;
    hash.update(relative(root, file)).update("\0").update(readFileSync(file)).update("\0");
  }
  return hash.digest("hex");
}

function isBuilt(mark) {
  return existsSync(stamp) && readFileSync(stamp, "utf8") === mark;
}

function build(mark) {
  // Into a folder of its own first: what runs from dist/ meanwhile must not meet half a build.
  const fresh = join(root, `.dist-${process.pid}`);
  try {
    const result = spawnSync(process.execPath, [compiler, "-p", "tsconfig.build.json", "--outDir", fresh], {
      cwd: root,
      encoding: "utf8",
    });
    if (result.status !== 0) {
      process.stderr.write(`${result.stdout}${result.stderr}`);
      return result.status ?? 1;
    }
    // Files that are not TypeScript (templates) belong to the package as they are.
    for (const file of sources.flatMap((folder) => filesIn(join(root, folder)))) {
      if (!/\.m?ts$/.test(file)) copy(file, join(fresh, relative(join(root, "src"), file)));
    }
    const built = filesIn(fresh).map((file) => relative(fresh, file));
    for (const file of built) {
      mkdirSync(dirname(join(dist, file)), { recursive: true });
      renameSync(join(fresh, file), join(dist, file));
    }
    const kept = new Set(built);
    for (const file of filesIn(dist)) if (!kept.has(relative(dist, file))) rmSync(file, { force: true });
    writeFileSync(stamp, mark);
    return 0;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to);
}

function main() {
  // An installed package holds dist/ and needs no compiler.
  if (!existsSync(compiler)) {
    if (existsSync(join(dist, "cog", "index.js"))) return 0;
    process.stderr.write("dist/ is missing and so is the TypeScript compiler: run `npm install --include=dev`\n");
    return 1;
  }
  const mark = fingerprint();
  return isBuilt(mark) ? 0 : build(mark);
}

process.exitCode = main();
