import type { TrainingSettings } from "../../src/training/index.ts";

/** The defaults of alpaca-lora's finetune.py, warm-up and clipping as its Trainer has them. */
export const alpacaLora: TrainingSettings = {
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
  prompt_template_name: "alpaca",
  seed: 42,
  warmup_steps: 100,
  weight_decay: 0,
  max_grad_norm: 1,
};
