import { CodedError } from "../../errors/index.ts";
import { parseBoundedJson } from "../bounded-json.ts";
import { type AddedToken, addedTokenOf, record } from "./tokenizer-json.ts";

/** What tokenizer_config.json and the files beside it say; null where they do not. */
export interface TokenizerConfig {
  readonly bos: string | null;
  readonly eos: string | null;
  readonly addBos: boolean | null;
  readonly addEos: boolean | null;
  /** transformers' class: "LlamaTokenizer", "PreTrainedTokenizerFast", ... */
  readonly className: string | null;
  /** Whether SentencePiece puts a space in front of the text behind a special token, too. */
  readonly legacy: boolean | null;
  readonly addPrefixSpace: boolean | null;
  /** added_tokens_decoder, then added_tokens.json. */
  readonly added: readonly AddedToken[];
}

export const configFileNames = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"] as const;

/** Texts of the files that describe a tokenizer beside its vocabulary, as far as they are there. */
export type ConfigFiles = Partial<Record<(typeof configFileNames)[number], string>>;

/** Throws TOKENIZER_CORRUPT naming the file in `folder`. */
export function readTokenizerConfig(files: Readonly<ConfigFiles>, pathOf: (name: string) => string): TokenizerConfig {
  const read = (name: keyof ConfigFiles) => parse(files[name], pathOf(name));
  const config = read("tokenizer_config.json");
  const map = read("special_tokens_map.json");
  const text = (name: string) => textOf(config[name]) ?? textOf(map[name]);
  const flag = (name: string) => (typeof config[name] === "boolean" ? config[name] : null);
  const special = new Set(["bos_token", "eos_token", "unk_token", "pad_token"].flatMap((name) => text(name) ?? []));
  for (const token of listOf(map.additional_special_tokens)) special.add(textOf(token) ?? "");
  const corrupt = (name: string, key: string): never => {
    throw new CodedError("TOKENIZER_CORRUPT", `${pathOf(name)}: ${JSON.stringify(key)} gives no token and id`);
  };
  const added = new Map<number, AddedToken>();
  for (const [key, value] of Object.entries(record(config.added_tokens_decoder) ?? {})) {
    const token = addedTokenOf(/^\d{1,7}$/.test(key) ? Number(key) : null, record(value) ?? {});
    const { id } = token ?? corrupt("tokenizer_config.json", key);
    added.set(id, token!);
  }
  for (const [content, id] of Object.entries(read("added_tokens.json"))) {
    const token = addedTokenOf(id, { content, special: special.has(content) }) ?? corrupt("added_tokens.json", content);
    if (!added.has(token.id)) added.set(token.id, token);
  }
  return {
    bos: text("bos_token"),
    eos: text("eos_token"),
    addBos: flag("add_bos_token"),
    addEos: flag("add_eos_token"),
    className: textOf(config.tokenizer_class),
    legacy: flag("legacy"),
    addPrefixSpace: flag("add_prefix_space"),
    added: [...added.values()],
  };
}

function parse(text: string | undefined, file: string): Readonly<Record<string, unknown>> {
  if (text === undefined) return {};
  let value: unknown;
  try {
    value = parseBoundedJson(text);
  } catch (error) {
    throw new CodedError("TOKENIZER_CORRUPT", `${file}: not valid JSON: ${(error as Error).message}`, { cause: error });
  }
  return record(value) ?? {};
}

/** A text, or an object with the text as `content`. */
function textOf(value: unknown): string | null {
  const content = record(value)?.content ?? value;
  return typeof content === "string" && content !== "" ? content : null;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
