import { CodedError } from "../../errors/index.ts";
import type { TokenizerInput } from "../tokenizer/tokenizer-input.ts";
import type { Conversation } from "./conversation.ts";
import type { TemplateRecord } from "./record.ts";
import { inputOf, type Part, type SpecialNames } from "./special-names.ts";
import { type AnswerForm, type PromptTemplate, plainAnswer } from "./template.ts";

/** A place that is filled in; the other segments are text. */
export type Slot = { readonly slot: "instruction" | "input" };
export type Segments = readonly (string | Slot)[];

/** alpaca-lora's format: a text with an input, another one without. */
export interface TextForms {
  readonly withInput: Segments;
  readonly withoutInput: Segments;
}

/** The segments of a text with {instruction} and {input} in it. */
export function segmentsOf(text: string): Segments {
  return text.split(/(\{instruction\}|\{input\})/).flatMap((part): (string | Slot)[] => {
    if (part === "{instruction}") return [{ slot: "instruction" }];
    if (part === "{input}") return [{ slot: "input" }];
    return part === "" ? [] : [part];
  });
}

/** An empty, null or absent input selects the form without one. Braces inside instruction and input stay as they are. */
export function filledText(forms: TextForms, instruction: string, input?: string | null): string {
  const values = { instruction, input: input ?? "" };
  const segments = input ? forms.withInput : forms.withoutInput;
  return segments.map((segment) => (typeof segment === "string" ? segment : values[segment.slot])).join("");
}

/** One instruction, worded as a text. Special tokens are those that the template's author wrote. */
export class TextTemplate implements PromptTemplate {
  readonly title: string;
  readonly note = null;
  readonly record: TemplateRecord;
  readonly answer: AnswerForm = plainAnswer;
  readonly #forms: TextForms;
  readonly #names: SpecialNames;
  /** Whether those in the instruction, the input and the answer are taken, too. */
  readonly #takesTyped: boolean;

  constructor(title: string, record: TemplateRecord, forms: TextForms, names: SpecialNames, takesTyped = false) {
    this.title = title;
    this.record = record;
    this.#forms = forms;
    this.#names = names;
    this.#takesTyped = takesTyped;
  }

  render(conversations: readonly Conversation[], signal?: AbortSignal): Promise<TokenizerInput[]> {
    return Promise.all(conversations.map((conversation) => this.#render(conversation, signal)));
  }

  answerParts(answer: string): Part[] {
    return this.#takesTyped ? this.#names.split(answer) : [answer];
  }

  async #render({ system, turns, input }: Conversation, signal: AbortSignal | undefined): Promise<TokenizerInput> {
    if (system !== null) throw this.#refused("has no place for a system prompt");
    if (turns.length !== 1) throw this.#refused(`takes one message of the user, ${turns.length} messages are given`);
    const instruction = turns[0]!.content;
    if (this.#takesTyped) {
      return inputOf(await this.#names.splitting(filledText(this.#forms, instruction, input), signal));
    }
    const values = { instruction, input };
    const segments = input === "" ? this.#forms.withoutInput : this.#forms.withInput;
    return inputOf(
      segments.flatMap((segment) =>
        typeof segment === "string" ? this.#names.split(segment) : [values[segment.slot]],
      ),
    );
  }

  #refused(what: string): CodedError {
    return new CodedError("PROMPT_MESSAGES", `the prompt template "${this.title}" ${what}`, {
      hint: "Choose a chat template: prompt_template_name=chatml, llama-2, llama-3, or chat for the model's own.",
    });
  }
}
