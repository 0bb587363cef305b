import { beforeAll, describe, expect, it } from "vitest";
import { besideProject, type Collection, ownRecordings } from "./conformance/collection.ts";
import { replayAll } from "./conformance/lanes.ts";
import { buildDist } from "./server-process.ts";

/** The answers are waited for one after the other; all are under way from the start. */
function replayed(collection: Collection): void {
  let results: Map<string, Promise<string[]>>;
  beforeAll(() => {
    buildDist();
    results = replayAll(collection, 6);
  });
  for (const { id, title } of collection.cases) {
    const reason = collection.known.get(id);
    if (reason === undefined) it(`${id} ${title}`, async () => expect(await results.get(id)).toEqual([]), 300_000);
    else it.skip(`${id} ${title}: ${reason}`);
  }
}

describe("answers of a real Cog server to the project's own predictors, replayed", () => replayed(ownRecordings));

// They are not part of the repository; where they lie beside it, every one is replayed.
describe.skipIf(besideProject.cases.length === 0)("answers of a real Cog server, replayed", () => {
  replayed(besideProject);
});
