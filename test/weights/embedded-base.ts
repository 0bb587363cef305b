import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type FileLike, type Llama, renderPrompt } from "../../src/llama/index.ts";
import type { TrainingSettings } from "../../src/training/index.ts";

export const root = resolve(import.meta.dirname, "..", "..");
export const weights = resolve(root, "weights", "tiny");

export interface Question {
  readonly instruction: string;
  readonly input: string;
  readonly output: string;
}

export const readQuestions = (path: string): Question[] => JSON.parse(readFileSync(resolve(root, path), "utf8"));

/** train.ts's defaults with the inputs that examples/settings.json gives for a data set. */
export function settingsFor(dataset: string): TrainingSettings {
  const chosen = JSON.parse(readFileSync(resolve(root, "examples/settings.json"), "utf8"))[dataset];
  return {
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
    ...chosen,
  };
}

/** The greedy answer to an instruction in the alpaca template. */
export async function answer(
  llama: Llama,
  { instruction, input }: Pick<Question, "instruction" | "input">,
  adapter: FileLike | null = null,
): Promise<string> {
  let text = "";
  const prompt = renderPrompt("alpaca", instruction, input);
  for await (const piece of llama.generate(prompt, { temperature: 0, max_new_tokens: 80, adapter })) text += piece.text;
  return text;
}
