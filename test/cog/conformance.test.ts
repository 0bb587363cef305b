import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referenceData } from "../reference-data.mjs";
import { type Case, replay } from "./conformance/replay.ts";
import { SharedServers } from "./conformance/shared-servers.ts";
import { buildDist } from "./server-process.ts";

/** Where a case differs on purpose, and why. Everywhere else it must be equal, and there it must differ. */
interface Difference {
  readonly reason: string;
  /** Regular expressions over the places of differences. */
  readonly at: readonly string[];
}

const differencesFile = new URL("./conformance-differences.json", import.meta.url);
const known = JSON.parse(readFileSync(differencesFile, "utf8")) as Record<string, Difference>;

/** A large set of recordings may lie beside the project; the project's own are always replayed. */
const recordings = {
  "recorded beside the project": join(referenceData, "conformance", "cases"),
  "recorded by npm run record": fileURLToPath(new URL("./recordings", import.meta.url)),
};

for (const [origin, folder] of Object.entries(recordings)) {
  describe.skipIf(!existsSync(folder)).concurrent(`answers of a real Cog server, ${origin}`, () => {
    const shared = new SharedServers();
    beforeAll(buildDist);
    afterAll(() => shared.close());
    const files = existsSync(folder) ? readdirSync(folder).sort() : [];
    for (const file of files) {
      const recorded = JSON.parse(readFileSync(`${folder}/${file}`, "utf8")) as Case;
      const difference = known[recorded.id];
      const but = difference === undefined ? "" : `, but ${difference.reason}`;
      it(`${recorded.id} ${recorded.title}${but}`, async () => {
        const places = (difference?.at ?? []).map((text) => new RegExp(text));
        const isKnown = (text: string) => places.some((place) => place.test(text.slice(0, text.indexOf(": "))));
        const found = await replay(recorded, shared, isKnown);
        expect(found.filter((text) => !isKnown(text))).toEqual([]);
        if (difference !== undefined) expect(found).not.toEqual([]);
      }, 180_000);
    }
  });
}
