/** A text for an instruction with an input, another one for an instruction alone. */
export interface TextTemplateForms {
  /** With the placeholders {instruction} and {input}. */
  readonly withInput: string;
  /** With the placeholder {instruction}. */
  readonly withoutInput: string;
}

const preamble =
  "Below is an instruction that describes a task. Write a response that appropriately completes the request.";
const preambleWithInput =
  "Below is an instruction that describes a task, paired with an input that provides further context. " +
  "Write a response that appropriately completes the request.";
const instruction = "### Instruction:\n{instruction}\n\n";
const input = "### Input:\n{input}\n\n";
const response = "### Response:";

const preambleFrench =
  "Ci-dessous se trouve une instruction qui décrit une tâche. " +
  "Écrivez une réponse qui complète correctement la demande.";
const preambleFrenchWithInput =
  "Ci-dessous se trouve une instruction qui décrit une tâche, associée à une entrée qui fournit un contexte " +
  "supplémentaire. Écrivez une réponse qui complète correctement la demande.";

/** alpaca-lora's instruction formats (its templates/*.json), and none at all. */
export const textTemplates = {
  alpaca: {
    withInput: `${preambleWithInput}\n\n${instruction}${input}${response}\n`,
    withoutInput: `${preamble}\n\n${instruction}${response}\n`,
  },
  alpaca_legacy: {
    withInput: `${preambleWithInput}\n\n${instruction}${input}${response}`,
    withoutInput: `${preamble}\n\n${instruction}${response}`,
  },
  alpaca_short: {
    withInput: `${instruction}${input}${response}\n`,
    withoutInput: `${instruction}${response}\n`,
  },
  vigogne: {
    withInput: `${preambleFrenchWithInput}\n\n${instruction}### Entrée:\n{input}\n\n### Réponse:\n`,
    withoutInput: `${preambleFrench}\n\n${instruction}### Réponse:\n`,
  },
  none: {
    withInput: "{instruction}\n{input}",
    withoutInput: "{instruction}",
  },
} as const satisfies Record<string, TextTemplateForms>;

export type TextTemplateName = keyof typeof textTemplates;
