import { isCodedError } from "../../../errors/index.ts";
import type { TokenizerInput } from "../../tokenizer/tokenizer-input.ts";
import { type Conversation, type Message, messagesOf } from "../conversation.ts";
import type { TemplateRecord } from "../record.ts";
import { inputOf, type Part } from "../special-names.ts";
import { type AnswerForm, type PromptTemplate, plainAnswer, type TemplateModel } from "../template.ts";
import { chatRenderer } from "./renderer.ts";

/** A conversation, worded by a template in Jinja. */
export class ChatTemplate implements PromptTemplate {
  readonly title: string;
  readonly record: TemplateRecord;
  readonly #source: string;
  readonly #model: TemplateModel;
  #answer: AnswerForm = unknownAnswer;

  /** Looks at how the template writes an answer. Throws PROMPT_TEMPLATE_INVALID for one that cannot be read. */
  static async open(
    title: string,
    record: TemplateRecord,
    source: string,
    model: TemplateModel,
  ): Promise<ChatTemplate> {
    const template = new ChatTemplate(title, record, source, model);
    template.#answer = await template.#findAnswer();
    return template;
  }

  private constructor(title: string, record: TemplateRecord, source: string, model: TemplateModel) {
    this.title = title;
    this.record = record;
    this.#source = source;
    this.#model = model;
  }

  /** Tokenizers without its marks are common: models learn them as text. */
  get note(): string | null {
    if (this.#answer === unknownAnswer || this.#answer.endId !== null) return null;
    return `the marks of ${this.title} are no special tokens of this tokenizer: they are written as text`;
  }

  get answer(): AnswerForm {
    return this.#answer;
  }

  async render(conversations: readonly Conversation[], signal?: AbortSignal): Promise<TokenizerInput[]> {
    const rendered = await this.#render(conversations.map(messagesOf), true, signal);
    return rendered.map(inputOf);
  }

  answerParts(answer: string): Part[] {
    return [answer];
  }

  #render(conversations: Message[][], addGenerationPrompt: boolean, signal?: AbortSignal): Promise<Part[][]> {
    const { tokenizer, templateTexts } = this.#model;
    const { bosId, eosId, specialTokens } = tokenizer;
    const bos = bosId === null ? null : tokenizer.piece(bosId);
    const variables = {
      ...(bos === null ? {} : { bos_token: bos }),
      eos_token: tokenizer.piece(eosId) ?? "",
      ...templateTexts,
    };
    const request = { template: this.#source, specialTokens, variables, conversations, addGenerationPrompt };
    return chatRenderer.render(request, signal);
  }

  /** A template that refuses this conversation has the plain form. */
  async #findAnswer(): Promise<AnswerForm> {
    const question: Message = { role: "user", content: "Question" };
    const answer: Message = { role: "assistant", content: `${padding}${marker}${padding}` };
    try {
      const [prompt] = await this.#render([[question]], true);
      const [whole] = await this.#render([[question, answer]], false);
      return answerForm(inputParts(prompt!), inputParts(whole!));
    } catch (error) {
      if (isCodedError(error) && error.code === "PROMPT_MESSAGES") return unknownAnswer;
      throw error;
    }
  }
}

/** Of a template that refuses to write one. */
const unknownAnswer: AnswerForm = { ...plainAnswer, startsAtToken: true };
/** Letters that no template has, and white space that shows whether it is taken off. */
const marker = "XqAnswerqX";
const padding = "\t\t";

function inputParts(parts: readonly Part[]): readonly Part[] {
  const input = inputOf(parts);
  return typeof input === "string" ? [input] : input;
}

function answerForm(prompt: readonly Part[], whole: readonly Part[]): AnswerForm {
  // A prompt may end otherwise than a finished turn begins: then nothing stands between it and the answer.
  const behind = withoutBeginning(whole, prompt);
  const parts = behind ?? whole;
  const place = parts.findIndex((part) => typeof part === "string" && part.includes(marker));
  if (place < 0) return unknownAnswer;
  const [left = "", right = ""] = (parts[place] as string).split(marker);
  const trims = { start: !left.endsWith(padding), end: !right.startsWith(padding) };
  const before = [...parts.slice(0, place), trims.start ? left : left.slice(0, -padding.length)];
  const after = [trims.end ? right : right.slice(padding.length), ...parts.slice(place + 1)];
  const end = after.findIndex((part) => typeof part === "number");
  return {
    before: behind === null ? [] : before,
    trims,
    after: end < 0 ? [] : after.slice(0, end),
    endId: end < 0 ? null : (after[end] as number),
    startsAtToken: true,
  };
}

/** What follows `beginning` in `whole`; null where it begins otherwise. */
function withoutBeginning(whole: readonly Part[], beginning: readonly Part[]): Part[] | null {
  for (const [place, part] of beginning.entries()) {
    const other = whole[place];
    if (other === part) continue;
    const isHalf = place === beginning.length - 1 && typeof part === "string" && typeof other === "string";
    if (!isHalf || !other.startsWith(part)) return null;
    return [other.slice(part.length), ...whole.slice(place + 1)];
  }
  return whole.slice(beginning.length);
}
