import { CodedError } from "../../errors/index.ts";
import { filledText, segmentsOf } from "./text-template.ts";
import { textTemplates } from "./text-templates.ts";

export { checkTemplateName, PromptTemplates, type TemplateChoice } from "./choose.ts";
export { type Conversation, conversationOf, type Message, type Question } from "./conversation.ts";
export { type TemplateName, templateNames } from "./names.ts";
export { mostRecordBytes, parseTemplateRecord, recordName, type TemplateRecord } from "./record.ts";
export { inputOf, type Part } from "./special-names.ts";
export { answerParts, type PromptTemplate, type TemplateModel } from "./template.ts";
export { textTemplates } from "./text-templates.ts";

/**
 * The text for one instruction in alpaca's templates or `none`; chat templates need a model (see Llama.generate). An
 * empty, null or absent input selects the form without one. Braces inside instruction and input stay as they are.
 * @throws PROMPT_TEMPLATE_UNKNOWN naming the templates there are
 */
export function renderPrompt(name: string, instruction: string, input?: string | null): string {
  if (!Object.hasOwn(textTemplates, name)) {
    throw new CodedError("PROMPT_TEMPLATE_UNKNOWN", `there is no prompt template ${JSON.stringify(name)} of one text`, {
      hint: `Choose one of ${Object.keys(textTemplates).join(", ")}.`,
    });
  }
  const { withInput, withoutInput } = textTemplates[name as keyof typeof textTemplates];
  const forms = { withInput: segmentsOf(withInput), withoutInput: segmentsOf(withoutInput) };
  return filledText(forms, instruction, input);
}
