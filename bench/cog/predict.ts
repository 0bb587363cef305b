import { definePredictor, Input, Output } from "llama-lora-cog/cog";

/** Does nothing, so that what is measured is the server. predict.py is the same for a real Cog server. */
export default definePredictor({
  inputs: { text: Input.string({ default: "" }) },
  output: Output.string(),
  predict: async () => "ok",
});
