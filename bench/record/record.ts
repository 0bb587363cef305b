// npm run record -- --cog PYTHON [ID ...]: records what the real Cog server of that Python answers to the cases in cases/.
// Each predictor of fixtures/ runs in it with the schema that our server publishes for the predictor's twin.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Case, Json } from "../../test/cog/conformance/case.ts";
import { Session } from "../../test/cog/conformance/session.ts";
import { buildDist } from "../../test/cog/server-process.ts";
import { requests } from "./cases/requests.ts";
import { runs } from "./cases/runs.ts";
import { surroundings } from "./cases/surroundings.ts";
import { RealCog } from "./real-cog.ts";

const { values, positionals } = parseArgs({ options: { cog: { type: "string" } }, allowPositionals: true });
if (values.cog === undefined) throw new Error("--cog PYTHON: the interpreter in which the cog package is installed");
buildDist();
const cog = new RealCog(values.cog);
const answersFolder = join(import.meta.dirname, "..", "..", "test", "cog", "recordings");

/** The real server frees a slot a moment after its answer: a request that it refuses then is sent again. */
async function record(written: Case): Promise<Case> {
  const session = await Session.open(written, cog.start);
  try {
    const steps: Json[] = [];
    for (const step of written.steps) {
      let answer = await session.perform(step);
      for (let i = 0; i < 10 && answer?.status === 409 && !step.busy; i++) {
        await sleep(100);
        answer = await session.perform(step);
      }
      const { busy: _, ...kept } = step;
      steps.push(answer === undefined ? kept : { ...kept, answer: session.normalized(answer) });
    }
    return { ...written, steps };
  } finally {
    await session.end();
  }
}

for (const [name, cases] of Object.entries({ requests, runs, surroundings })) {
  const file = join(answersFolder, `${name}.json`);
  const before = new Map<string, Case>();
  if (positionals.length > 0)
    for (const one of JSON.parse(readFileSync(file, "utf8")) as Case[]) before.set(one.id, one);
  const recorded: Case[] = [];
  for (const written of cases) {
    const earlier = before.get(written.id);
    if (positionals.length > 0 && !positionals.includes(written.id)) {
      if (earlier !== undefined) recorded.push(earlier);
      continue;
    }
    console.log(written.id);
    recorded.push(await record(written));
  }
  writeFileSync(file, `${JSON.stringify(recorded, null, 1)}\n`);
}
process.exit();
