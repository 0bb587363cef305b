import { setImmediate } from "node:timers/promises";

/** Work in small steps, each well under a millisecond, so that it can be done at once or beside other work. */
export type Steps<T> = Generator<unknown, T>;

/** Most words are known or short. */
export const wordsPerStep = 64;

/** Milliseconds between two turns of the event loop. */
const slice = 4;

export function runNow<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/**
 * Lets the event loop turn every few milliseconds: a server answers while a large vocabulary is opened or a long text
 * encoded. Throws the signal's reason.
 */
export async function runInSlices<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  for (;;) {
    signal?.throwIfAborted();
    const until = performance.now() + slice;
    do {
      const step = steps.next();
      if (step.done) return step.value;
    } while (performance.now() < until);
    await setImmediate();
  }
}
