import { setImmediate } from "node:timers/promises";

/** Work in small steps, each well under a millisecond, so that it can be done at once or beside other work. */
export type Steps<T> = Generator<void, T>;

/** Milliseconds between two turns of the event loop. */
const slice = 4;

export function runNow<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Lets the event loop turn every few milliseconds: a server answers while a large vocabulary is opened. */
export async function runInSlices<T>(steps: Steps<T>): Promise<T> {
  for (;;) {
    const until = performance.now() + slice;
    do {
      const step = steps.next();
      if (step.done) return step.value;
    } while (performance.now() < until);
    await setImmediate();
  }
}
