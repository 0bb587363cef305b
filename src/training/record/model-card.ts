import { lowest, perplexity } from "../progress.ts";
import type { TrainedAdapter } from "../train-lora.ts";
import type { BeforeAfter } from "./before-after.ts";
import type { RunFacts } from "./facts.ts";
import { markdownText, table } from "./markdown.ts";
import { chartName, metricsName, trainingName } from "./names.ts";

/** Settings that a reader of a card looks for; all are in training.json. */
const shownSettings = [
  ..."lora_r lora_alpha lora_dropout lora_target_modules learning_rate warmup_steps weight_decay".split(" "),
  ..."num_epochs batch_size cutoff_len train_on_inputs seed".split(" "),
];

/**
 * README.md as a model card of Hugging Face's: its front matter, what the adapter was trained with, its losses, how it is used.
 * https://huggingface.co/docs/hub/model-cards
 */
export function modelCard(result: TrainedAdapter, facts: RunFacts, samples: readonly BeforeAfter[]): string {
  const { base } = facts;
  // The hub wants a name that it has; a folder's name is none.
  const front = [...(base.isPublished ? [`base_model: ${JSON.stringify(base.name)}`] : []), "library_name: peft"];
  const name = markdownText(base.name);
  return `---
${front.join("\n")}
pipeline_tag: text-generation
tags:
- llama
- lora
---

# LoRA adapter for ${name}

Trained with llama-lora-cog ${facts.versions.package} on ${data(result, facts)}.

![Loss of each step](${chartName})

${losses(result)}

${examples(samples)}## Use it

With [PEFT](https://huggingface.co/docs/peft), from the folder that this file lies in:

\`\`\`python
from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained(".")
\`\`\`

With llama.cpp: \`llama-lora export\` makes a GGUF file of the adapter, or of base and adapter together. With the container it was
trained in: \`cog predict -i adapter=@adapter.tar.gz -i prompt="..."\`. Prompts are worded as in training by the template in
\`prompt_template.json\` there; elsewhere word them so yourself.

## How it was trained

${settings(result)}

All settings, the digests of base and data, versions and hardware are in \`${trainingName}\`; each step is a line of \`${metricsName}\`.
`;
}

function data({ plan, steps }: TrainedAdapter, { data }: RunFacts): string {
  const counted = (count: number) => count.toLocaleString("en-US");
  const kept = plan.settings.val_set_size;
  const others = data.validation === null ? "" : `, validated on ${counted(data.validation.rows)} others`;
  const validated = kept > 0 && others === "" ? ` (${counted(kept)} of them for validation)` : others;
  return `${counted(data.rows)} rows${validated}, in ${counted(steps.length)} steps`;
}

function losses({ steps, evaluations }: TrainedAdapter): string {
  const row = (name: string, values: readonly { loss: number }[]) => {
    const least = lowest(values)!.loss;
    const shown = [values[0]!.loss, least, values.at(-1)!.loss].map((loss) => loss.toFixed(4));
    return [name, ...shown, perplexity(least)];
  };
  const rows = [steps, evaluations].map((values, i) =>
    values.length === 0 ? [] : [row(["training", "validation"][i]!, values)],
  );
  const kept = evaluations.length === 0 ? "" : "\n\nThe adapter with the lowest validation loss was kept.";
  return `${table(["loss (nats per token)", "first", "lowest", "last", "lowest as perplexity"], rows.flat())}${kept}`;
}

function examples(samples: readonly BeforeAfter[]): string {
  if (samples.length === 0) return "";
  const rows = samples.map(({ prompt, before, after }) => [prompt, before, after].map((text) => markdownText(text)));
  return `## Before and after\n\n${table(["prompt", "before", "after"], rows)}\n\n`;
}

/** Of a setting: no text of a user. */
function code(text: string): string {
  return `\`${text}\``;
}

function settings({ plan }: TrainedAdapter): string {
  const values = new Map<string, unknown>(Object.entries(plan.settings));
  const shown = (value: unknown) => (Array.isArray(value) ? value.join(", ") : String(value));
  const rows = shownSettings
    .filter((name) => values.get(name) !== undefined && values.get(name) !== null)
    .map((name) => [code(name), code(shown(values.get(name)))]);
  return table(["setting", "value"], rows);
}
