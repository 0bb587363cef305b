// npm run conformance: replays the recorded answers of real Cog servers, and of its Go client, against ours; says how many there
// were, and where we differ on purpose. The project's own recordings are always there, the larger set where it lies beside it.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ensureInstalled, root } from "./installed.mjs";

ensureInstalled();
const results = join(root, "build", "conformance.json");
mkdirSync(join(root, "build"), { recursive: true });
rmSync(results, { force: true });
const vitest = spawnSync(
  process.execPath,
  [
    join(root, "node_modules", "vitest", "vitest.mjs"),
    "run",
    "test/cog/conformance.test.ts",
    "test/cog/cli/conformance.test.ts",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${results}`,
  ],
  // Every recording: npm test replays a selection of the client's.
  { cwd: root, stdio: "inherit", env: { ...process.env, THOROUGH_TESTS: "1" } },
);
const { testResults } = JSON.parse(readFileSync(results, "utf8"));
const cases = testResults.flatMap(({ assertionResults }) => assertionResults);
const groups = new Map();
for (const each of cases) {
  const [title] = each.ancestorTitles;
  groups.set(title, [...(groups.get(title) ?? []), each.status]);
}
console.log("");
for (const [title, statuses] of groups) {
  const count = (wanted) => statuses.filter((status) => status === wanted).length;
  console.log(`${title}: ${count("passed")} passed, ${count("failed")} failed`);
}
const differing = cases.filter(({ title }) => title.includes(", but "));
if (differing.length > 0) console.log("\nDifferent on purpose, and only there:");
for (const { title } of differing) console.log(`  ${title}`);
process.exit(vitest.status ?? 1);
