import { describe, expect, it } from "vitest";
import { checkSettings } from "../../src/training/settings.ts";
import train from "../../train.ts";
import { defaults } from "./default-settings.ts";

describe("checkSettings", () => {
  it("accepts train.ts's defaults", () => {
    expect(() => checkSettings(defaults)).not.toThrow();
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
    [{ lora_target_modules: [] }, 'lora_target_modules must be "all-linear", or a list of some of q_proj'],
    [{ lora_target_modules: ["q_proj", "q_proj"] as const }, "lora_target_modules"],
    [{ lora_target_modules: ["lm_head" as "q_proj"] }, '["lm_head"]'],
    [{ lora_target_modules: ["all-linear", "q_proj"] as const }, 'lora_target_modules must be "all-linear", or a list'],
    [{ lora_alpha: 0 }, "lora_alpha must be a number above 0, found 0"],
    [
      { rank_pattern: { q_proj: 0.5 } },
      'rank_pattern must be an object of names, each with an integer from 1 to 4096; found {"q_proj":0.5}',
    ],
    [{ alpha_pattern: { q_proj: "4" } }, 'found {"q_proj":"4"}'],
    [{ lr_scheduler_type: "polynomial" as "linear" }, "lr_scheduler_type must be one of linear, cosine"],
    [{ warmup_ratio: 1 }, "warmup_ratio must be a number from 0 to below 1, found 1"],
    [{ eval_steps: 0 }, "eval_steps must be an integer from 1, found 0"],
    [{ early_stopping_patience: -1 }, "early_stopping_patience must be an integer from 0, found -1"],
  ])("refuses %j", (change, message) => {
    expect(() => checkSettings({ ...defaults, ...change })).toThrow(
      expect.objectContaining({ code: "TRAINING_SETTINGS", message: expect.stringContaining(message) }),
    );
  });

  it("refuses a template that there is not", () => {
    expect(() => checkSettings({ ...defaults, prompt_template_name: "vicuna" })).toThrow(
      expect.objectContaining({ code: "PROMPT_TEMPLATE_UNKNOWN" }),
    );
  });
});

describe("train.ts", () => {
  it("has alpaca-lora's names and defaults", () => {
    // finetune.py's, warm-up and clipping as its Trainer has them.
    expect(defaults).toEqual({
      num_epochs: 3,
      learning_rate: 3e-4,
      batch_size: 128,
      micro_batch_size: 4,
      cutoff_len: 256,
      val_set_size: 2000,
      lora_r: 8,
      lora_alpha: 16,
      lora_dropout: 0.05,
      lora_target_modules: ["q_proj", "v_proj"],
      train_on_inputs: true,
      prompt_template_name: "auto",
      use_rslora: false,
      seed: 42,
      lr_scheduler_type: "linear",
      warmup_steps: 100,
      weight_decay: 0,
      max_grad_norm: 1,
      eval_steps: 200,
      early_stopping_patience: 0,
      sample_tokens: 64,
    });
    expect(train.inputs.add_eos_token!.spec.options.default).toBe(false);
    expect(train.inputs.dataset!.spec.options.default).toBeUndefined();
  });
});
