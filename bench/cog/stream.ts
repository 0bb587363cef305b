import { definePredictor, Input, Output } from "llama-lora-cog/cog";

/** As many chunks as are asked for. stream.py is the same for a real Cog server. */
export default definePredictor({
  inputs: { count: Input.integer({ default: 1000 }) },
  output: Output.concatenateIterator(),
  async *predict({ count }) {
    for (let i = 0; i < count; i++) yield "token";
  },
});
