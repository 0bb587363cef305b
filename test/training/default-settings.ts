import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TrainingSettings } from "../../src/training/index.ts";
import train from "../../train.ts";

/** Inputs that are no settings: files of a run, words of other trainers, and its checkpoints. */
const others = [
  ..."dataset dataset_format columns validation_data adapter add_eos_token dry_run".split(" "),
  ..."gradient_accumulation_steps run_validation group_by_length".split(" "),
  ..."save_steps save_total_limit resume_from_checkpoint checkpoint".split(" "),
];

/** The defaults of train.ts. */
export const defaults = Object.fromEntries(
  Object.entries(train.inputs)
    .filter(([name]) => !others.includes(name))
    .map(([name, { spec }]) => [name, spec.options.default]),
) as unknown as TrainingSettings;

/** A run with these settings chosen and the other ones at their defaults, as a request to train.ts has it. */
export function chosen(settings: Partial<TrainingSettings>) {
  return { settings: { ...defaults, ...settings }, given: new Set(Object.keys(settings)) };
}

/** What examples/settings.json chooses for a data set of examples/. */
export function chosenFor(dataset: string) {
  const file = join(import.meta.dirname, "..", "..", "examples", "settings.json");
  return chosen(JSON.parse(readFileSync(file, "utf8"))[dataset]);
}
