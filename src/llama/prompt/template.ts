import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { TokenizerInput } from "../tokenizer/tokenizer-input.ts";
import { pythonStrip } from "./chat-template/python-text.ts";
import type { Conversation } from "./conversation.ts";
import type { TemplateRecord } from "./record.ts";
import type { Part } from "./special-names.ts";

/** What a template needs to know of a model. */
export interface TemplateModel {
  readonly tokenizer: Tokenizer;
  /** Its own, as Jinja; null where it has none. */
  readonly chatTemplate?: string | null | undefined;
  /** bos_token and its like, as tokenizer_config.json spells them. */
  readonly templateTexts?: Readonly<Record<string, string>> | undefined;
}

/** How a template writes an answer behind its prompt. */
export interface AnswerForm {
  readonly before: readonly Part[];
  /** White space that is taken off the answer. */
  readonly trims: { readonly start: boolean; readonly end: boolean };
  /** Between the answer and the token that ends it. */
  readonly after: readonly Part[];
  /** The special token that ends an answer; null where the template has none, and the model's own does. */
  readonly endId: number | null;
  /** Whether the tokens of a prompt stay what they are before an answer; else a token may reach over the border. */
  readonly startsAtToken: boolean;
}

export const plainAnswer: AnswerForm = {
  before: [],
  trims: { start: false, end: false },
  after: [],
  endId: null,
  startsAtToken: false,
};

/** The wording of prompts for one model. */
export interface PromptTemplate {
  /** As a log names it. */
  readonly title: string;
  /** What the user should know of it with this model, as a line for the log. */
  readonly note: string | null;
  /** What is kept with an adapter that was trained with it. */
  readonly record: TemplateRecord;
  readonly answer: AnswerForm;
  /**
   * What the model is given for each conversation, without the BOS that stands before any prompt.
   * @throws PROMPT_MESSAGES for one that this template has no words for, PROMPT_TEMPLATE_INVALID, the signal's reason
   */
  render(conversations: readonly Conversation[], signal?: AbortSignal): Promise<TokenizerInput[]>;
  /** The texts and tokens of an answer's own text: a template that takes typed special tokens splits them off. */
  answerParts(answer: string): Part[];
}

/** An answer behind its prompt, up to the token that ends it. */
export function answerParts(template: PromptTemplate, answer: string): Part[] {
  const { before, trims, after } = template.answer;
  const start = trims.start ? pythonStrip(answer, "lstrip") : answer;
  const text = trims.end ? pythonStrip(start, "rstrip") : start;
  return [...before, ...template.answerParts(text), ...after];
}
