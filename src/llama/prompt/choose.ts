import { LRUCache } from "lru-cache";
import { CodedError } from "../../errors/index.ts";
import { ChatTemplate } from "./chat-template/chat-template.ts";
import { chatFormats } from "./chat-template/sources.ts";
import { isChatFormat, isNamedTemplate, templateNames } from "./names.ts";
import { formatSegments, readTemplateFile, type TemplateRecord } from "./record.ts";
import { SpecialNames } from "./special-names.ts";
import type { PromptTemplate, TemplateModel } from "./template.ts";
import { segmentsOf, TextTemplate } from "./text-template.ts";
import { textTemplates } from "./text-templates.ts";

/** How a template is asked for. */
export interface TemplateChoice {
  /** One of templateNames; `auto` by default. */
  readonly name?: string | undefined;
  /** A file with a template instead. */
  readonly file?: { readonly path: string; readonly name?: string } | null | undefined;
  /** What the adapter was trained with, for `auto`. */
  readonly recorded?: TemplateRecord | null | undefined;
}

/** Opened templates that are kept; each adapter may bring one. */
const mostKept = 16;

/** The templates of one model, each opened once. */
export class PromptTemplates {
  readonly #model: TemplateModel;
  readonly #names: SpecialNames;
  readonly #opened = new LRUCache<string, Promise<PromptTemplate>>({ max: mostKept });

  constructor(model: TemplateModel) {
    this.#model = model;
    this.#names = new SpecialNames(model.tokenizer.specialTokens);
  }

  /**
   * `auto`: what the adapter was trained with, else the model's chat template, else alpaca.
   * @throws PROMPT_TEMPLATE_UNKNOWN, PROMPT_TEMPLATE_INVALID
   */
  async choose({ name = "auto", file, recorded }: TemplateChoice): Promise<PromptTemplate> {
    if (file) {
      if (name !== "auto") {
        throw new CodedError(
          "PROMPT_TEMPLATE_INVALID",
          `both prompt_template and prompt_template_name ${name} are given`,
          {
            hint: "Give one of them.",
          },
        );
      }
      return this.#open(await readTemplateFile(file.path, file.name), file.name ?? "the given file");
    }
    checkTemplateName(name);
    if (isNamedTemplate(name)) return this.#open({ prompt_template_name: name }, name);
    if (name === "auto" && recorded) return this.#open(recorded, `${titleOf(recorded)}, recorded with the adapter`);
    const { chatTemplate = null } = this.#model;
    if (chatTemplate !== null) {
      return this.#open({ prompt_template_name: "chat", chat_template: chatTemplate }, "the model's chat template");
    }
    if (name === "auto") return this.#open({ prompt_template_name: "alpaca" }, "alpaca");
    throw new CodedError("PROMPT_TEMPLATE_UNKNOWN", "the model has no chat template", {
      hint: "It would be in its tokenizer_config.json or chat_template.jinja. Choose another prompt_template_name.",
    });
  }

  #open(record: TemplateRecord, title: string): Promise<PromptTemplate> {
    const key = JSON.stringify([title, record]);
    const opening = this.#opened.get(key) ?? openTemplate(record, title, this.#model, this.#names);
    this.#opened.set(key, opening);
    opening.catch(() => {
      if (this.#opened.peek(key) === opening) this.#opened.delete(key);
    });
    return opening;
  }
}

async function openTemplate(
  record: TemplateRecord,
  title: string,
  model: TemplateModel,
  names: SpecialNames,
): Promise<PromptTemplate> {
  if ("prompt_input" in record) {
    const forms = {
      withInput: formatSegments(record.prompt_input, `${title}: field "prompt_input"`),
      withoutInput: formatSegments(record.prompt_no_input, `${title}: field "prompt_no_input"`),
    };
    return new TextTemplate(title, record, forms, names);
  }
  if ("chat_template" in record) return ChatTemplate.open(title, record, record.chat_template, model);
  const name = record.prompt_template_name;
  if (isChatFormat(name)) return ChatTemplate.open(title, record, chatFormats[name], model);
  const { withInput, withoutInput } = textTemplates[name];
  const forms = { withInput: segmentsOf(withInput), withoutInput: segmentsOf(withoutInput) };
  return new TextTemplate(title, record, forms, names, name === "none");
}

function titleOf(record: TemplateRecord): string {
  if ("prompt_input" in record) return "a template file";
  return "chat_template" in record ? "a chat template" : record.prompt_template_name;
}

/** @throws PROMPT_TEMPLATE_UNKNOWN naming the templates there are. */
export function checkTemplateName(name: string): void {
  if ((templateNames as string[]).includes(name)) return;
  throw new CodedError("PROMPT_TEMPLATE_UNKNOWN", `there is no prompt template ${JSON.stringify(name)}`, {
    hint: `Choose one of ${templateNames.join(", ")}.`,
  });
}
