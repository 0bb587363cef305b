import { isCodedError } from "../../errors/index.ts";
import type { Checkpoint } from "../checkpoint/index.ts";
import { conversationOf, PromptTemplates, type TemplateRecord } from "../prompt/index.ts";
import { inputLength, type TokenizerInput } from "../tokenizer/tokenizer-input.ts";
import { type GenerateOptions, placeOf, type TemplatedQuestion } from "./options.ts";
import type { PromptEncoder } from "./prompt-encoder.ts";

/** A question as the model is given it. */
export interface WordedPrompt {
  readonly input: TokenizerInput;
  /** Ids that end an answer to it, beside the model's own. */
  readonly endIds: readonly number[];
}

/** Questions to prompts, by the templates of one model. */
export class PromptWording {
  readonly #templates: PromptTemplates;
  readonly #encoder: PromptEncoder;
  /** What ends a turn in the model's own chat template. */
  #turnEnds: readonly number[] = [];

  /** A chat template that cannot be used is a warning here, and an error once it is asked for. */
  static async open(checkpoint: Checkpoint, encoder: PromptEncoder, warn: (line: string) => void) {
    const wording = new PromptWording(checkpoint, encoder);
    if (checkpoint.chatTemplate === null) return wording;
    try {
      const { endId } = (await wording.#templates.choose({ name: "chat" })).answer;
      if (endId !== null) wording.#turnEnds = [endId];
    } catch (error) {
      if (!isCodedError(error)) throw error;
      warn(error.message);
    }
    return wording;
  }

  private constructor(checkpoint: Checkpoint, encoder: PromptEncoder) {
    this.#templates = new PromptTemplates(checkpoint);
    this.#encoder = encoder;
  }

  /** The title of what `auto` chooses, or why it cannot be used. */
  async defaultTitle(recorded: TemplateRecord | null): Promise<string> {
    try {
      return (await this.#templates.choose({ recorded })).title;
    } catch (error) {
      if (!isCodedError(error)) throw error;
      return error.message;
    }
  }

  /**
   * @param recorded what the adapter was trained with
   * @throws PROMPT_*, and the signal's reason
   */
  async word(
    prompt: TokenizerInput | TemplatedQuestion,
    recorded: TemplateRecord | null,
    { signal, log }: GenerateOptions,
  ): Promise<WordedPrompt> {
    if (!isQuestion(prompt)) return { input: prompt, endIds: this.#turnEnds };
    const { prompt_template_name: name, prompt_template: file } = prompt;
    const conversation = conversationOf(prompt);
    const texts = [conversation.system ?? "", conversation.input, ...conversation.turns.map(({ content }) => content)];
    this.#encoder.checkLength(inputLength(texts));
    const template = await this.#templates.choose({ name, file: file ? placeOf(file) : null, recorded });
    if ((name ?? "auto") === "auto" && !file) log?.(`prompt template: ${template.title}`);
    if (template.note !== null) log?.(template.note);
    const [input] = await template.render([conversation], signal);
    const { endId } = template.answer;
    return { input: input!, endIds: endId === null ? this.#turnEnds : [...this.#turnEnds, endId] };
  }
}

function isQuestion(prompt: TokenizerInput | TemplatedQuestion): prompt is TemplatedQuestion {
  return typeof prompt === "object" && !Array.isArray(prompt);
}
