// npm test: installs and builds what is missing, lints, type-checks, runs the kernel tests and every Vitest file but *.slow.test.ts.
//   --thorough     (npm run test:thorough) those slow files, the files that npm test runs in part
//                  (vitest.config.ts), and the kernels on every value and type of the emulated card
//   --suite-only   the Vitest files alone; other words go to Vitest
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ensureInstalled, root, run } from "./installed.mjs";

const started = Date.now();
const suiteOnly = process.argv.includes("--suite-only");
const isThorough = process.argv.includes("--thorough");
if (isThorough) process.env.THOROUGH_TESTS = "1";
const step = (name) => console.log(`\n== ${name} (${Math.round((Date.now() - started) / 1000)} s)`);
const tool = (path) => join(root, "node_modules", path);

step("install and build");
ensureInstalled();

if (!suiteOnly && !isThorough) {
  step("lint and format");
  run(process.execPath, [tool("@biomejs/biome/bin/biome"), "check", "."]);
  step("types");
  run(process.execPath, [tool("typescript/bin/tsc"), "--noEmit", "-p", "."]);
}
if (!suiteOnly) {
  step("kernels against the reference");
  run(process.execPath, [join(root, "scripts", "build-native.mjs"), "--tests"]);
}

step("tests");
const results = join(root, "build", "test-results.json");
mkdirSync(join(root, "build"), { recursive: true });
rmSync(results, { force: true });
const vitest = spawnSync(
  process.execPath,
  [
    tool("vitest/vitest.mjs"),
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${results}`,
    ...process.argv.slice(2).filter((word) => word !== "--suite-only" && word !== "--thorough"),
  ],
  { cwd: root, stdio: "inherit" },
);
if (existsSync(results)) {
  const { numPassedTests, numFailedTests, numPendingTests, testResults } = JSON.parse(readFileSync(results, "utf8"));
  const pending = testResults.flatMap((file) => file.assertionResults.filter(({ status }) => /skip|pend/.test(status)));
  for (const name of new Set(pending.map(({ ancestorTitles: [suite], title }) => suite ?? title))) {
    console.log(`skipped: ${name}`);
  }
  console.log(`\n${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped`);
}
process.exit(vitest.status ?? 1);
