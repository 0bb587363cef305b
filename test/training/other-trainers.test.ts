import { describe, expect, it } from "vitest";
import { InputSchema } from "../../src/cog/prediction/input-schema.ts";
import { openApiDocument } from "../../src/cog/schema/openapi.ts";
import { type OtherInputs, ownSettings, type TrainingSettings } from "../../src/training/index.ts";
import train from "../../train.ts";
import { defaults } from "./default-settings.ts";

const own = (choice: Partial<TrainingSettings> & OtherInputs, more: string[] = []) =>
  ownSettings({ ...defaults, ...choice }, new Set([...Object.keys(choice), ...more]));
const schema = new InputSchema(openApiDocument(null, train), "TrainingInput");

describe("gradient_accumulation_steps", () => {
  it("gives the batch_size, or of a given one the micro_batch_size", () => {
    const first = own({ gradient_accumulation_steps: 8 });
    expect(first.settings).toMatchObject({ batch_size: 32, micro_batch_size: 4 });
    expect(first.given.has("batch_size")).toBe(true);
    expect(own({ gradient_accumulation_steps: 8, micro_batch_size: 2 }).settings.batch_size).toBe(16);
    expect(own({ gradient_accumulation_steps: 4, batch_size: 32 }).settings.micro_batch_size).toBe(8);
    expect(own({ gradient_accumulation_steps: 4, batch_size: 8, micro_batch_size: 2 }).settings.batch_size).toBe(8);
    expect(own({}).settings).toEqual(defaults);
  });

  it.each([
    [
      { gradient_accumulation_steps: 4, batch_size: 32, micro_batch_size: 4 },
      "gradient_accumulation_steps 4 times micro_batch_size 4 is 16, not batch_size 32",
    ],
    [
      { gradient_accumulation_steps: 3, batch_size: 32 },
      "batch_size 32 is no multiple of gradient_accumulation_steps 3",
    ],
  ])("is refused where it contradicts them: %j", (choice, message) => {
    expect(() => own(choice)).toThrow(expect.objectContaining({ code: "TRAINING_SETTINGS", message }));
  });
});

describe("run_validation", () => {
  it("is no validation where it is false", () => {
    const { settings, given } = own({ run_validation: false });
    expect([settings.val_set_size, given.has("val_set_size")]).toEqual([0, true]);
    expect(own({ run_validation: true }).settings.val_set_size).toBe(2000);
  });

  it("is refused where it contradicts what is given", () => {
    expect(() => own({ run_validation: false, val_set_size: 50 })).toThrow("contradicts val_set_size 50");
    expect(() => own({ run_validation: true, val_set_size: 0 })).toThrow("contradicts val_set_size 0");
    expect(() => own({ run_validation: false }, ["validation_data"])).toThrow("contradicts validation_data");
  });
});

it("group_by_length says that it has no meaning", () => {
  expect(own({ group_by_length: true }).notes).toEqual([
    "group_by_length has no meaning here: rows are packed, so that none is padded",
  ]);
  expect(own({ group_by_length: false }).notes).toEqual([]);
});

describe("train.ts", () => {
  // finetune.py of alpaca-lora, with any values.
  const finetune = {
    data_path: "https://a/data.json",
    batch_size: 128,
    micro_batch_size: 4,
    num_epochs: 3,
    learning_rate: 3e-4,
    cutoff_len: 256,
    val_set_size: 2000,
    lora_r: 8,
    lora_alpha: 16,
    lora_dropout: 0.05,
    lora_target_modules: ["q_proj", "v_proj"],
    train_on_inputs: true,
    add_eos_token: false,
    group_by_length: false,
    prompt_template_name: "alpaca",
  };
  // cog-llama-template's train.py.
  const replicate = {
    train_data: "https://a/data.jsonl",
    num_train_epochs: 1,
    train_batch_size: 4,
    gradient_accumulation_steps: 1,
    num_validation_samples: 50,
    validation_data: "https://a/validation.jsonl",
    run_validation: true,
    validation_prompt: "Who are you?",
    learning_rate: 1e-4,
    seed: 42,
    lora_rank: 8,
    lora_alpha: 16,
    lora_dropout: 0.05,
  };

  it.each([
    ["alpaca-lora's finetune.py", finetune],
    ["Replicate's trainer", replicate],
  ])("takes the names of %s", (_, input) => {
    expect(schema.check(input)).toMatchObject({ unknown: [] });
  });

  it("takes all-linear as a word, as PEFT does", () => {
    expect(schema.check({ dataset: "https://a", lora_target_modules: "all-linear" })).toMatchObject({
      input: { lora_target_modules: ["all-linear"] },
    });
  });

  it.each(
    `base_model output_dir local_model_path wandb_project wandb_run_name wandb_watch wandb_log_model validation_batch_size
     pack_sequences wrap_packed_sequences chunk_size peft_method fake_output`.split(/\s+/),
  )("refuses %s with what to use instead", (name) => {
    expect(schema.check({ dataset: "https://a", [name]: "x" })).toMatchObject({
      problems: [{ loc: ["body", "input", name], msg: expect.stringMatching(/.{30}/) }],
    });
  });
});
