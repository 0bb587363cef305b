import { setImmediate as nextTurn } from "node:timers/promises";

/** Milliseconds between two turns of the event loop: a server answers while a vocabulary or a data set is read. */
const sliceMs = 4;

/** Long work on the event loop, in slices: call it between items; it lets others run every few milliseconds. */
export function sliced(signal?: AbortSignal): () => Promise<void> | undefined {
  let start = performance.now();
  return () => {
    if (performance.now() - start < sliceMs) return undefined;
    return nextTurn().then(() => {
      signal?.throwIfAborted();
      start = performance.now();
    });
  };
}

/** Work in small steps, each well under a millisecond, so that it can be done at once or in slices. */
export type Steps<T> = Generator<unknown, T>;

/** Of a text: most are known or short. */
export const wordsPerStep = 64;

export function runNow<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Throws the signal's reason. */
export async function runInSlices<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  signal?.throwIfAborted();
  const pause = sliced(signal);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    const turn = pause();
    if (turn) await turn;
  }
}
