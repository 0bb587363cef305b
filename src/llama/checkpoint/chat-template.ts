import { join } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { parseBoundedJson } from "../bounded-json.ts";
import { readRegularFile } from "../regular-file.ts";

/** A model's chat template, and the texts it may use for special tokens. */
export interface FoundChatTemplate {
  /** Jinja; null where the model has none. */
  readonly chatTemplate: string | null;
  /** bos_token, eos_token and their like. */
  readonly templateTexts: Readonly<Record<string, string>>;
}

const texts = ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"];
/** Configurations with every added token of a large vocabulary reach a few hundred kilobytes. */
const maxBytes = 64 * 2 ** 20;

/**
 * The template in chat_template.jinja, else in tokenizer_config.json: a text, or a list of named ones of which "default" is
 * taken (transformers' layouts). Of the folders the first counts that has one.
 * @throws TOKENIZER_CORRUPT naming the file
 */
export async function readChatTemplate(folders: readonly string[]): Promise<FoundChatTemplate> {
  let templateTexts: Record<string, string> = {};
  for (const folder of folders) {
    const file = join(folder, "tokenizer_config.json");
    const config = await readConfig(file);
    if (Object.keys(templateTexts).length === 0) templateTexts = textsOf(config);
    const chatTemplate = (await readText(join(folder, "chat_template.jinja"))) ?? templateOf(config, file);
    if (chatTemplate !== null) return { chatTemplate, templateTexts };
  }
  return { chatTemplate: null, templateTexts };
}

type Config = ReadonlyMap<string, unknown>;

async function readConfig(file: string): Promise<Config> {
  const text = await readText(file);
  if (text === null) return new Map();
  try {
    return fieldsOf(parseBoundedJson(text));
  } catch (error) {
    throw new CodedError("TOKENIZER_CORRUPT", `${file}: not valid JSON: ${(error as Error).message}`, { cause: error });
  }
}

function textsOf(config: Config): Record<string, string> {
  const found = texts.map((name) => {
    const value = config.get(name);
    return [name, typeof value === "string" ? value : fieldsOf(value).get("content")];
  });
  return Object.fromEntries(found.filter(([, text]) => typeof text === "string"));
}

function templateOf(config: Config, file: string): string | null {
  const value = config.get("chat_template") ?? null;
  if (value === null || typeof value === "string") return value;
  const named = Array.isArray(value) ? value.map(fieldsOf) : [];
  const template = named.find((item) => item.get("name") === "default")?.get("template");
  if (typeof template === "string") return template;
  throw new CodedError("TOKENIZER_CORRUPT", `${file}: "chat_template" is no text and no list with one named "default"`);
}

function fieldsOf(value: unknown): ReadonlyMap<string, unknown> {
  return new Map(typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : []);
}

async function readText(file: string): Promise<string | null> {
  const bytes = await readRegularFile(file, { missing: "TOKENIZER_NOT_FOUND", corrupt: "TOKENIZER_CORRUPT", maxBytes });
  return bytes?.toString("utf8") ?? null;
}
