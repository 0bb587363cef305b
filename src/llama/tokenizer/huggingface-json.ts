import { BpeTokenizer } from "./bpe-tokenizer.ts";
import { flatParts } from "./pre-tokenizers.ts";
import type { TokenizerConfig } from "./tokenizer-config.ts";
import { readTokenizerJson, record, type TokenizerJson, unsupported } from "./tokenizer-json.ts";

/** What LLaMA and its kin call them where no file says it. */
const usualTexts = {
  bos: ["<s>", "<|begin_of_text|>"],
  eos: ["</s>", "<|end_of_text|>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "<|im_end|>", "<|endoftext|>"],
};

/**
 * Opens a tokenizer.json with a BPE model. BOS is what transformers puts before a text: as add_bos_token says, else the
 * post-processor, else as LLaMA was trained.
 * Throws TOKENIZER_CORRUPT and TOKENIZER_UNSUPPORTED naming `file` and the part.
 */
export function jsonTokenizer(text: string, file: string, config: TokenizerConfig): BpeTokenizer {
  const json = withAdded(readTokenizerJson(text, file), config);
  const eosNames = config.eos === null ? usualTexts.eos : [config.eos];
  const eosId =
    idOf(json, eosNames) ?? unsupported(file, `a vocabulary without an end of text (${eosNames.join(", ")})`);
  return new BpeTokenizer(json, bosIdOf(json, config), eosId);
}

function bosIdOf(json: TokenizerJson, config: TokenizerConfig): number | null {
  if (config.addBos === false) return null;
  const fromTemplate = templateBos(json);
  const names = config.bos === null ? usualTexts.bos : [config.bos];
  const named = idOf(json, names);
  const isTrue = config.addBos === true || config.className?.startsWith("Llama") === true;
  if (isTrue && named === null && fromTemplate === null) {
    return unsupported(json.file, `a vocabulary without the beginning of text that is asked for (${names.join(", ")})`);
  }
  if (config.addBos === true) return named ?? fromTemplate;
  if (fromTemplate !== null) return fromTemplate;
  // LLaMA 3's first files do not say that it was trained with one.
  const isLlamas = named !== null && usualTexts.bos.includes(json.pieces[named] ?? "");
  return isTrue || isLlamas ? named : null;
}

/** The special token that TemplateProcessing puts before a text; null where it puts none. */
function templateBos({ postProcessor, file, added, vocabulary }: TokenizerJson): number | null {
  for (const part of flatParts(postProcessor, "processors", file)) {
    if (part.type === "ByteLevel") continue;
    if (part.type !== "TemplateProcessing") return unsupported(file, `post-processor "${part.type}"`);
    const [first] = Array.isArray(part.single) ? part.single : [];
    const name = record(record(first)?.SpecialToken)?.id;
    if (typeof name !== "string") continue;
    const id = added.find((token) => token.content === name)?.id ?? vocabulary.get(name);
    return id ?? unsupported(file, `a template with ${JSON.stringify(name)}, which is no piece`);
  }
  return null;
}

function idOf({ added, vocabulary }: TokenizerJson, names: readonly string[]): number | null {
  for (const name of names) {
    const id = added.find((token) => token.content === name)?.id ?? vocabulary.get(name);
    if (id !== undefined) return id;
  }
  return null;
}

/** With the tokens that only tokenizer_config.json or added_tokens.json list. */
function withAdded(json: TokenizerJson, config: TokenizerConfig): TokenizerJson {
  const known = new Set(json.added.map((token) => token.content));
  const more = config.added.filter((token) => !known.has(token.content) && json.pieces[token.id] === undefined);
  if (more.length === 0) return json;
  const pieces = [...json.pieces];
  for (const { id, content } of more) pieces[id] = content;
  return { ...json, pieces, added: [...json.added, ...more] };
}
