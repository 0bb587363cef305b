import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { withoutControls } from "../../shown-text.ts";
import type { Route } from "../input/schema.ts";
import type { LiveLine } from "../live/live-line.ts";
import type { Metric } from "../live/measured.ts";
import type { ModelClient, RunAnswer, RunBody } from "./client.ts";

const pollMs = 100;
/** After the answer, for the last of the events. */
const lastEventsMs = 1000;

interface WatchOptions {
  readonly signal: AbortSignal;
  readonly live: LiveLine;
  /** The run's lines are shown: they do not come otherwise. */
  readonly showsLogs: boolean;
}

/**
 * Runs and waits for the answer, and draws the metrics of the run meanwhile. What goes wrong with its events is no reason to
 * fail: they are for the eye. @throws what the client's run throws
 */
export async function watchedRun(
  client: ModelClient,
  route: Route,
  body: RunBody,
  { signal, live, showsLogs }: WatchOptions,
): Promise<RunAnswer> {
  const id = randomUUID();
  const stop = new AbortController();
  const watching = watch(client, { route, id, live, showsLogs }, AbortSignal.any([signal, stop.signal])).catch(
    () => {},
  );
  try {
    const answer = await client.run(route, { ...body, id }, signal);
    await Promise.race([watching, sleep(lastEventsMs, undefined, { ref: false })]);
    return answer;
  } finally {
    stop.abort();
    await watching;
  }
}

async function watch(
  client: ModelClient,
  { route, id, live, showsLogs }: { route: Route; id: string } & Omit<WatchOptions, "signal">,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const events = await client.events(route, id, signal);
    if (events === undefined) return;
    // Its inputs are still on their way.
    if (events === null) await sleep(pollMs, undefined, { signal });
    else {
      for await (const { event, data } of events) {
        if (event === "metric") live.measured(data as Metric);
        else if (event === "log" && showsLogs) live.write(withoutControls((data as { data: string }).data));
        else if (event === "completed" || event === "error") return;
      }
      return;
    }
  }
}
