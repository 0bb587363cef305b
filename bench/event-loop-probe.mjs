// Loaded with NODE_OPTIONS=--import into every process of a run: records its event-loop delay and writes it to
// EVENT_LOOP_PROBE_DIR/<pid>.json four times a second, so that a process that is killed has left its figures too.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";

const folder = process.env.EVENT_LOOP_PROBE_DIR;
if (folder && isMainThread) {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  const milliseconds = (nanoseconds) => Math.round(nanoseconds / 1e4) / 100;
  const write = () =>
    writeFileSync(
      join(folder, `${process.pid}.json`),
      JSON.stringify({
        pid: process.pid,
        startedAt: performance.timeOrigin,
        samples: histogram.count,
        p50: milliseconds(histogram.percentile(50)),
        p99: milliseconds(histogram.percentile(99)),
        p999: milliseconds(histogram.percentile(99.9)),
        max: milliseconds(histogram.max),
      }),
    );
  setInterval(write, 250).unref();
  process.on("exit", write);
}
