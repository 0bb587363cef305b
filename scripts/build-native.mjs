// Builds the native engine with plain CMake: `npm run build`, the first step of npm test, and the engine itself when it is
// first needed. Does nothing when no source has changed since the last build. It goes into build/native, or where the
// package's folder cannot be written into a folder of the user's cache. Headers come from npm packages, so that no Python
// and no download of Node's sources is needed.
//   --tests   builds and runs the native test programs instead, in build/native-tests
//   --json    tells the outcome as one object on standard output: {addon}, or {error, hint}
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { firstWritable } from "./folders.mjs";
import { addonFolders, hashOfSources, isBuilt, native, root, stampOf } from "./native-sources.mjs";

const asJson = process.argv.includes("--json");

// Standard output belongs to the result.
const say = (message) => console.error(`native engine: ${message}`);

function fail(message, hint) {
  if (asJson) console.log(JSON.stringify({ error: message, hint }));
  else say(hint ? `${message}; ${hint}` : message);
  process.exit(1);
}

function packageFolder(name) {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch {
    return fail(`the package ${name} is not installed`, "type: npm install");
  }
}

function requireTools() {
  const found = (command) => !spawnSync(command, ["--version"], { stdio: "ignore" }).error;
  const missing = [];
  if (!found("cmake")) missing.push("cmake");
  if (!found("make") && !found("ninja")) missing.push("make");
  if (!found(process.env.CXX ?? "c++") && !found("g++") && !found("clang++")) missing.push("g++");
  if (missing.length === 0) return;
  fail(`needs ${missing.join(", ")} to be built`, `on Debian or Ubuntu type: apt-get install ${missing.join(" ")}`);
}

/** Shows the tool's output only when it fails: a build should print one line. */
async function quietly(command, args) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => output.push(chunk));
  const status = await new Promise((resolve) => child.on("error", resolve).on("close", resolve));
  if (status === 0) return;
  console.error(status instanceof Error ? status.message : Buffer.concat(output).toString("utf8"));
  fail(`"${command} ${args.join(" ")}" failed`, "the compiler's messages are above");
}

async function build(folder, definitions) {
  requireTools();
  // A cache of another place or generator would be refused by CMake.
  const cache = join(folder, "CMakeCache.txt");
  if (existsSync(cache) && !readFileSync(cache, "utf8").includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${native}\n`)) {
    for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
  }
  await quietly("cmake", ["-S", native, "-B", folder, "-DCMAKE_BUILD_TYPE=Release", ...definitions]);
  await quietly("cmake", ["--build", folder, "--parallel", String(availableParallelism())]);
}

/** Runs `work` unless `output` was made from the same sources; one process at a time. @returns whether it ran */
async function unlessUnchanged(output, hash, work) {
  if (isBuilt(output, hash)) return false;
  const folder = dirname(output);
  const { default: lockfile } = await import("proper-lockfile").catch(() =>
    fail("npm packages are missing", "type: npm install"),
  );
  mkdirSync(folder, { recursive: true });
  // Half a minute without a sign of life: a busy machine must not lose the lock.
  const retries = { forever: true, minTimeout: 100, maxTimeout: 1000 };
  const release = await lockfile.lock(folder, { stale: 30_000, retries });
  try {
    if (isBuilt(output, hash)) return false;
    rmSync(stampOf(output), { force: true });
    await work();
    writeFileSync(stampOf(output), hash);
    return true;
  } finally {
    await release();
  }
}

async function buildAddon() {
  const hash = hashOfSources({ tests: false });
  const choices = addonFolders(hash);
  const folder =
    firstWritable(choices) ??
    fail(`none of these folders can be written: ${choices.join(", ")}`, "set XDG_CACHE_HOME to a folder that can");
  const output = join(folder, "llama_cpu.node");
  const start = Date.now();
  const built = await unlessUnchanged(output, hash, async () => {
    const headers = [packageFolder("node-api-headers"), packageFolder("node-addon-api")];
    say("building it, which takes a minute or two, once");
    await build(folder, [`-DNODE_API_HEADERS=${join(headers[0], "include")}`, `-DNODE_ADDON_API=${headers[1]}`]);
  });
  const name = folder === choices[0] ? relative(root, output) : output;
  if (built) say(`built ${name} in ${Math.round((Date.now() - start) / 1000)} s`);
  else if (!asJson) say(`${name} is up to date`);
  if (asJson) console.log(JSON.stringify({ addon: output }));
}

async function buildAndRunTests() {
  const folder = join(root, "build", "native-tests");
  await unlessUnchanged(join(folder, "CTestTestfile.cmake"), hashOfSources({ tests: true }), () =>
    build(folder, ["-DLLAMA_TESTS=ON"]),
  );
  const options = ["--output-on-failure", "--parallel", String(availableParallelism())];
  const { status } = spawnSync("ctest", ["--test-dir", folder, ...options], { stdio: "inherit" });
  if (status !== 0) fail("a native test failed");
}

if (process.argv.includes("--tests")) await buildAndRunTests();
else await buildAddon();
