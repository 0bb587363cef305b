import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** Share of all processors' time that was not used during a second. */
async function idleShare(): Promise<number> {
  const total = () =>
    cpus().reduce(
      ({ idle, all }, { times }) => ({
        idle: idle + times.idle,
        all: all + Object.values(times).reduce((a, b) => a + b, 0),
      }),
      { idle: 0, all: 0 },
    );
  const before = total();
  await sleep(1000);
  const after = total();
  return (after.idle - before.idle) / (after.all - before.all);
}

/** Waits until other programs leave the processors alone; measures beside them if they do not within `minutes`. */
export async function untilIdle(minutes = 1): Promise<void> {
  const deadline = performance.now() + minutes * 60_000;
  while ((await idleShare()) < 0.95) {
    if (performance.now() > deadline) return console.error("the processors are busy with other programs");
  }
}
