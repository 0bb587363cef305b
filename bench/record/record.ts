// npm run record [-- --python PATH]: sends the requests of cases.ts to a real Cog server and writes its answers to
// test/cog/recordings. Wants a Python with the package `cog` (0.23.1 made those that are there).
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Case, Session, type StartFixture } from "../../test/cog/conformance/replay.ts";
import { fixtures } from "../../test/cog/conformance/shared-servers.ts";
import { type Request, requests } from "./cases.ts";
import { startCogServer } from "./cog-server.ts";

const root = join(import.meta.dirname, "..", "..");
const folder = join(root, "test", "cog", "recordings");
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { python: { type: "string", default: process.env.COG_PYTHON ?? "python3" } },
});
const { python } = values;
const version = execFileSync(python, ["-c", "import cog; print(cog.__version__)"], { encoding: "utf8" }).trim();
/** A real server frees the slot of a run some time after its answer. */
const betweenMs = 150;

/** What our counterpart of the fixture publishes: the real server holds requests against the same document. */
function documentOf(fixture: string): object {
  const isTrainer = fixture === "school";
  const stubs = isTrainer ? { COG_TRAIN_TYPE_STUB: "school.ts" } : { COG_PREDICT_TYPE_STUB: `${fixture}.ts` };
  const text = execFileSync(process.execPath, [join(root, "scripts", "cog.mjs"), "schema"], {
    cwd: fixtures,
    env: { ...process.env, ...stubs },
    encoding: "utf8",
  });
  return JSON.parse(text) as object;
}

const start: StartFixture = (fixture, env = {}, flags = []) =>
  startCogServer({
    python,
    program: join(root, "bench", "record", "fixtures", `${fixture}.py`),
    train: fixture === "school",
    document: documentOf(fixture),
    env,
    flags,
  });

async function record(request: Request): Promise<Case> {
  const { id, title, fixture, env = {}, flags = [], services } = request;
  const server = { env, flags, wait_for: "READY" };
  const recorded: Case = { id, title, fixture, server, ...(services ? { services } : {}), cog: version, steps: [] };
  const session = await Session.start({ ...recorded, steps: request.steps }, null, start);
  try {
    for (const step of request.steps) {
      if (step.op === "http") await sleep(betweenMs);
      const answer = withoutOwnLines(session.normalized(await session.perform(step)));
      recorded.steps.push(
        answer === undefined || step.answer === undefined ? withoutAnswer(step) : { ...step, answer },
      );
    }
  } finally {
    await session.end();
  }
  return recorded;
}

/** Of the setup's log, what the predictor printed: the server's own lines tell of this machine, Python's of its age. */
function withoutOwnLines(answer: unknown): unknown {
  const setup = (answer as { body?: { setup?: { logs?: string } } } | undefined)?.body?.setup;
  if (setup?.logs !== undefined) setup.logs = setup.logs.replace(/^(?!\[coglet::setup\] [^<]).*\n/gm, "");
  return answer;
}

function withoutAnswer({ answer: _, ...step }: Record<string, unknown>): object {
  return step;
}

const wanted = requests.filter(({ id }) => positionals.length === 0 || positionals.includes(id));
mkdirSync(folder, { recursive: true });
if (positionals.length === 0) for (const name of readdirSync(folder)) rmSync(join(folder, name));
for (const request of wanted) {
  const recorded = await record(request);
  writeFileSync(join(folder, `${request.id}.json`), `${JSON.stringify(recorded, undefined, 1)}\n`);
  console.log(`${request.id} ${request.title}`);
}
console.log(`${wanted.length} cases, Cog ${version}`);
