import { setImmediate as nextTurn } from "node:timers/promises";

const sliceMs = 5;

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
