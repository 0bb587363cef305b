// Builds the native engine with plain CMake into build/native: npm's install script, and the first step of npm test.
// Does nothing when no source has changed since the last build. Headers come from npm packages, so that no Python and no
// download of Node's sources is needed.
//   --tests   also builds and runs the native test programs, in build/native-tests
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { delimiter, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const native = join(root, "native");

function fail(message) {
  console.error(`native engine: ${message}`);
  process.exit(1);
}

/** A hash of every file that goes into the build; two trees with the same files have the same hash, whatever their dates. */
function hashOfSources(tests) {
  const files = readdirSync(native, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => tests || !file.startsWith(join(native, "test")));
  const hash = createHash("sha256");
  for (const file of [...files.sort(), fileURLToPath(import.meta.url)]) {
    hash.update(`${relative(root, file)}\0`).update(createHash("sha256").update(readFileSync(file)).digest());
  }
  // A build is also bound to the machine type and to where the project lies (CMake's cache holds absolute paths); where MPI
  // is installed later, its module is still to be built.
  return hash.update(`${process.platform} ${process.arch} ${root} ${hasMpi()}`).digest("hex");
}

function hasMpi() {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, "mpicxx")));
}

function packageFolder(name) {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch {
    return fail(`the package ${name} is not installed; type: npm install`);
  }
}

function requireTools() {
  const found = (command) => !spawnSync(command, ["--version"], { stdio: "ignore" }).error;
  const missing = [];
  if (!found("cmake")) missing.push("cmake");
  if (!found("make") && !found("ninja")) missing.push("make");
  if (!found(process.env.CXX ?? "c++") && !found("g++") && !found("clang++")) missing.push("g++");
  if (missing.length === 0) return;
  fail(`needs ${missing.join(", ")} to be built; on Debian or Ubuntu type: apt-get install ${missing.join(" ")}`);
}

/** Shows the tool's output only when it fails: an installation should print one line. */
function quietly(command, args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 28 });
  if (status === 0) return;
  console.error(error ? error.message : `${stdout}${stderr}`);
  fail(`"${command} ${args.join(" ")}" failed`);
}

function build(folder, definitions) {
  requireTools();
  // A cache of another place or generator would be refused by CMake.
  const cache = join(folder, "CMakeCache.txt");
  if (existsSync(cache) && !readFileSync(cache, "utf8").includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${native}\n`)) {
    rmSync(folder, { recursive: true });
  }
  mkdirSync(folder, { recursive: true });
  quietly("cmake", ["-S", native, "-B", folder, "-DCMAKE_BUILD_TYPE=Release", ...definitions]);
  quietly("cmake", ["--build", folder, "--parallel", String(availableParallelism())]);
}

/** Runs `work` unless `output` was made from the same sources. */
function unlessUnchanged(output, tests, work) {
  const stamp = join(dirname(output), "sources.sha256");
  const hash = hashOfSources(tests);
  if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, "utf8") === hash) return false;
  rmSync(stamp, { force: true });
  work();
  writeFileSync(stamp, hash);
  return true;
}

function buildAddon() {
  const folder = join(root, "build", "native");
  const output = join(folder, "llama_cpu.node");
  const start = Date.now();
  const built = unlessUnchanged(output, false, () => {
    const headers = join(packageFolder("node-api-headers"), "include");
    build(folder, [`-DNODE_API_HEADERS=${headers}`, `-DNODE_ADDON_API=${packageFolder("node-addon-api")}`]);
  });
  const name = relative(root, output);
  console.log(
    built
      ? `native engine: built ${name} in ${Math.round((Date.now() - start) / 1000)} s`
      : `native engine: ${name} is up to date`,
  );
}

function buildAndRunTests() {
  const folder = join(root, "build", "native-tests");
  unlessUnchanged(join(folder, "CTestTestfile.cmake"), true, () => build(folder, ["-DLLAMA_TESTS=ON"]));
  const options = ["--output-on-failure", "--parallel", String(availableParallelism())];
  const { status } = spawnSync("ctest", ["--test-dir", folder, ...options], { stdio: "inherit" });
  if (status !== 0) fail("a native test failed");
}

if (process.argv.includes("--tests")) buildAndRunTests();
else buildAddon();
