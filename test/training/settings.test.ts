import { describe, expect, it } from "vitest";
import { checkSettings } from "../../src/training/settings.ts";
import train from "../../train.ts";
import { alpacaLora } from "./settings.ts";

describe("checkSettings", () => {
  it("accepts alpaca-lora's defaults", () => {
    expect(() => checkSettings(alpacaLora)).not.toThrow();
  });

  it.each([
    [{ num_epochs: 0 }, "num_epochs must be an integer from 1, found 0"],
    [{ batch_size: 1.5 }, "batch_size must be an integer from 1, found 1.5"],
    [{ learning_rate: Number.POSITIVE_INFINITY }, "learning_rate"],
    [{ learning_rate: -1 }, "learning_rate must be a number from 0 to 1e6, found -1"],
    [{ lora_dropout: 1 }, "lora_dropout"],
    [{ lora_dropout: Number.NaN }, "lora_dropout"],
    [{ cutoff_len: 1 }, "cutoff_len"],
    [{ seed: 2 ** 53 }, "seed"],
    [{ lora_target_modules: [] }, "lora_target_modules must be a list of some of q_proj"],
    [{ lora_target_modules: ["q_proj", "q_proj"] as const }, "lora_target_modules"],
    [{ lora_target_modules: ["lm_head" as "q_proj"] }, '["lm_head"]'],
  ])("refuses %j", (change, message) => {
    expect(() => checkSettings({ ...alpacaLora, ...change })).toThrow(
      expect.objectContaining({ code: "TRAINING_SETTINGS", message: expect.stringContaining(message) }),
    );
  });

  it("refuses a template that there is not", () => {
    expect(() => checkSettings({ ...alpacaLora, prompt_template_name: "chat" })).toThrow(
      expect.objectContaining({ code: "PROMPT_TEMPLATE_UNKNOWN" }),
    );
  });
});

describe("train.ts", () => {
  it("has alpaca-lora's names and defaults", () => {
    const { dataset, add_eos_token, ...inputs } = train.inputs;
    const defaults = Object.entries(inputs).map(([name, field]) => [name, field.spec.options.default]);
    expect(Object.fromEntries(defaults)).toEqual(alpacaLora);
    expect(add_eos_token!.spec.options.default).toBe(false);
    expect(dataset!.spec.options.default).toBeUndefined();
  });
});
