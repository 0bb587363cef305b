import { CodedError } from "../../errors/index.ts";
import { ByteLevelTokenizer, byteCharacters } from "./byte-level.ts";
import { llama3Pattern } from "./llama3-words.ts";
import { MetaspaceTokenizer } from "./metaspace.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { partsOf, readTokenizerJson, type TokenizerJson, unsupported } from "./tokenizer-json.ts";

/** The texts of the special tokens, from tokenizer_config.json; null where it does not say. */
export interface SpecialTexts {
  readonly bos: string | null;
  readonly eos: string | null;
}

/** What LLaMA 2 and 3 call them. */
const usualTexts = { bos: ["<s>", "<|begin_of_text|>"], eos: ["</s>", "<|end_of_text|>"] };

/**
 * Opens a tokenizer.json of LLaMA 2's kind (SentencePiece converted) or LLaMA 3's (byte-level).
 * Throws TOKENIZER_CORRUPT and TOKENIZER_UNSUPPORTED naming `file` and the part.
 */
export function jsonTokenizer(text: string, file: string, special: SpecialTexts): Tokenizer {
  const json = readTokenizerJson(text, file);
  const bosId = specialId(json, special.bos, usualTexts.bos, "beginning");
  const eosId = specialId(json, special.eos, usualTexts.eos, "end");
  const preTokenizers = partsOf(json.preTokenizer, "pretokenizers", file);
  if (!preTokenizers.some((part) => part.type === "ByteLevel")) return new MetaspaceTokenizer(json, bosId, eosId);

  const [split, bytes] = preTokenizers;
  const pattern = (split?.pattern as { Regex?: unknown } | undefined)?.Regex;
  if (preTokenizers.length !== 2 || split?.type !== "Split" || bytes?.type !== "ByteLevel") {
    unsupported(file, `pre-tokeniser ${preTokenizers.map((part) => part.type).join(" + ")}`);
  }
  if (pattern !== llama3Pattern || split.behavior !== "Isolated" || split.invert === true) {
    unsupported(file, `splitting by ${JSON.stringify(pattern ?? split.pattern)}`);
  }
  if (bytes.add_prefix_space === true || bytes.use_regex === true) unsupported(file, "ByteLevel with these settings");
  if (json.normalizer !== null) unsupported(file, `normaliser "${json.normalizer.type}"`);
  const missing = byteCharacters.findIndex((character) => !json.vocabulary.has(character));
  if (missing >= 0) throw new CodedError("TOKENIZER_CORRUPT", `${file}: has no piece for byte ${missing}`);
  const { pieces, vocabulary: ids, merges, added, ignoreMerges } = json;
  return new ByteLevelTokenizer({ pieces, ids, merges, added, ignoreMerges, bosId, eosId });
}

function specialId(json: TokenizerJson, named: string | null, usual: readonly string[], what: string): number {
  const names = named === null ? usual : [named];
  for (const name of names) {
    const id = json.added.find((token) => token.content === name)?.id ?? json.vocabulary.get(name);
    if (id !== undefined) return id;
  }
  throw new CodedError(
    "TOKENIZER_UNSUPPORTED",
    `${json.file}: has no token for the ${what} of a text: ${names.join(", ")}`,
  );
}
