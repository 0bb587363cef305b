// npm run conformance [-- ID ...]: replays recorded answers of real Cog servers and says how ours differ.

import { buildDist } from "../server-process.ts";
import { besideProject, type Collection, ownRecordings } from "./collection.ts";
import { replayAll } from "./lanes.ts";

buildDist();
const wanted = new Set(process.argv.slice(2));
let differing = 0;
for (const collection of [ownRecordings, besideProject]) differing += await report(collection);
process.exit(differing === 0 ? 0 : 1);

/** Returns the number of cases that differ without a reason. */
async function report(collection: Collection): Promise<number> {
  const cases = collection.cases.filter(({ id }) => wanted.size === 0 || wanted.has(id));
  if (cases.length === 0) {
    console.log(`${collection.title}: none here`);
    return 0;
  }
  const results = replayAll({ ...collection, cases }, 6);
  let passed = 0;
  for (const { id, title } of cases) {
    const result = results.get(id);
    if (result === undefined) continue;
    const found = await result.catch((error: unknown) => [`not replayed: ${(error as Error).message}`]);
    if (found.length === 0) passed += 1;
    else console.log([`DIFFERS ${id} ${title}`, ...found.map((line) => `  ${line}`)].join("\n"));
  }
  const listed = cases.filter(({ id }) => collection.known.has(id));
  for (const { id, title } of listed) console.log(`listed  ${id} ${title}: ${collection.known.get(id)}`);
  console.log(`${collection.title}: ${passed} passed, ${results.size - passed} differ, ${listed.length} listed`);
  return results.size - passed;
}
