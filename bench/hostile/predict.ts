import { setTimeout as sleep } from "node:timers/promises";
import { definePredictor, Input, Output } from "llama-lora-cog/cog";

/** Takes inputs of every kind and does little: what a request costs here is the server's doing. */
export default definePredictor({
  inputs: {
    /** Milliseconds between the events of a stream without end; 0: no stream. */
    tick: Input.integer({ default: 0 }),
    /** Characters of the answer. */
    size: Input.integer({ default: 0 }),
    file: Input.path().optional(),
    files: Input.list(Input.path()).optional(),
    items: Input.list(Input.union([Input.integer(), Input.boolean()])).optional(),
    any: Input.any().optional(),
  },
  output: Output.concatenateIterator(),
  concurrency: 17,
  async *predict({ tick, size }, { signal }) {
    while (tick > 0 && !signal.aborted) {
      yield "tick";
      await sleep(tick);
    }
    yield "x".repeat(size);
  },
});
