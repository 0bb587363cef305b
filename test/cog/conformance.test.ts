import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Case, replay } from "./conformance/replay.ts";
import { SharedServers } from "./conformance/shared-servers.ts";
import { buildDist } from "./server-process.ts";

const folder = fileURLToPath(new URL("../../../shared/conformance/cases", import.meta.url));
const differencesFile = new URL("./conformance-differences.json", import.meta.url);
const known = JSON.parse(readFileSync(differencesFile, "utf8")) as Record<string, string>;

// The recordings are not part of the repository; where they lie beside it, every one is replayed.
describe.skipIf(!existsSync(folder)).concurrent("answers of a real Cog server, replayed", () => {
  const shared = new SharedServers();
  beforeAll(buildDist);
  afterAll(() => shared.close());
  const files = existsSync(folder) ? readdirSync(folder).sort() : [];
  for (const file of files) {
    const recorded = JSON.parse(readFileSync(`${folder}/${file}`, "utf8")) as Case;
    const title = `${recorded.id} ${(recorded as unknown as { title: string }).title}`;
    if (known[recorded.id] === undefined) {
      it(title, async () => expect(await replay(recorded, shared)).toEqual([]), 180_000);
    } else it.skip(`${title}: ${known[recorded.id]}`);
  }
});
