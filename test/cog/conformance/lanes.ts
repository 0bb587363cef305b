import type { ServerProcess } from "../server-process.ts";
import type { Case } from "./case.ts";
import { type Collection, sharingKey, startFixture } from "./collection.ts";
import { replay } from "./replay.ts";

/** Cases that run one after the other; those of a shared lane have one server in common. */
interface Lane {
  readonly cases: Case[];
  readonly isShared: boolean;
  seconds: number;
}

/** A shared lane takes cases up to this length, so that no lane is long after the others have ended. */
const longestLane = 10;

/**
 * Replays a collection, `atOnce` lanes at a time, those that take longest first. Each case has its own promise of the
 * differences found (empty: none); cases with a known difference are left out.
 */
export function replayAll(collection: Collection, atOnce: number): Map<string, Promise<string[]>> {
  const settle = new Map<string, (found: Promise<string[]>) => void>();
  const results = new Map<string, Promise<string[]>>();
  const replayed = collection.cases.filter(({ id }) => !collection.known.has(id));
  for (const { id } of replayed) {
    const result = new Promise<string[]>((resolve) => settle.set(id, resolve));
    // Looked at later; until then a failure is no unhandled rejection.
    result.catch(() => {});
    results.set(id, result);
  }
  const waiting = lanesOf(collection, replayed);
  const work = async () => {
    for (let lane = waiting.shift(); lane !== undefined; lane = waiting.shift()) {
      await runLane(collection, lane, (id, found) => settle.get(id)!(found));
    }
  };
  for (let i = 0; i < atOnce; i++) void work();
  return results;
}

async function runLane(
  collection: Collection,
  { cases, isShared }: Lane,
  settle: (id: string, found: Promise<string[]>) => void,
): Promise<void> {
  const start = (fixture: string, env: Record<string, string | null>, flags: readonly string[]) =>
    startFixture(collection, fixture, env, flags);
  let server: ServerProcess | null = null;
  for (const recorded of cases) {
    const found = (async () => {
      if (isShared && server === null) {
        server = await startFixture(collection, recorded.fixture, recorded.server!.env, recorded.server!.flags);
        await server.until("READY");
      }
      return replay(recorded, start, server);
    })();
    await found.catch(() => {});
    settle(recorded.id, found);
  }
  await (server as ServerProcess | null)?.kill();
}

function lanesOf(collection: Collection, cases: readonly Case[]): Lane[] {
  const lanes: Lane[] = [];
  const open = new Map<string, Lane>();
  for (const recorded of cases) {
    const key = sharingKey(collection, recorded);
    const seconds = estimate(recorded);
    let lane = key === null ? undefined : open.get(key);
    if (lane === undefined || lane.seconds + seconds > longestLane) {
      lane = { cases: [], isShared: key !== null, seconds: 0.5 };
      lanes.push(lane);
      if (key !== null) open.set(key, lane);
    }
    lane.cases.push(recorded);
    lane.seconds += seconds;
  }
  return lanes.sort((a, b) => b.seconds - a.seconds);
}

/** Roughly how many seconds a case waits. */
function estimate({ steps, services }: Case): number {
  const pauses = steps.reduce((sum, { ms = 0, settleMs = 0, afterMs = 0 }) => sum + ms + settleMs + afterMs, 0);
  // A receiver with a script of answers is there to be tried again, at growing intervals.
  return 0.2 + pauses / 1000 + (services?.sink === undefined ? 0 : 12);
}
