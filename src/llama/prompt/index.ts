import { CodedError } from "../../errors/index.ts";
import { type TemplateName, templateNames, templates } from "./templates.ts";

export { type PromptTemplate, type TemplateName, templateNames, templates } from "./templates.ts";

/** @throws PROMPT_TEMPLATE_UNKNOWN naming the templates there are. */
export function checkTemplateName(name: string): TemplateName {
  if (Object.hasOwn(templates, name)) return name as TemplateName;
  throw new CodedError("PROMPT_TEMPLATE_UNKNOWN", `there is no prompt template ${JSON.stringify(name)}`, {
    hint: `Choose one of ${templateNames.join(", ")}.`,
  });
}

/**
 * The text a model is given for an instruction. An empty, null or absent input selects the form without one.
 * Braces inside instruction and input stay as they are.
 */
export function renderPrompt(name: string, instruction: string, input?: string | null): string {
  const template = templates[checkTemplateName(name)];
  const values = new Map([
    ["{instruction}", instruction],
    ["{input}", input ?? ""],
  ]);
  // One pass, so that a placeholder inside the data is never filled in.
  return (input ? template.withInput : template.withoutInput).replace(
    /\{instruction\}|\{input\}/g,
    (placeholder) => values.get(placeholder)!,
  );
}
