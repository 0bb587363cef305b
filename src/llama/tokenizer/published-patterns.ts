import { flatParts, gpt2Pattern } from "./pre-tokenizers.ts";
import type { Part } from "./tokenizer-json.ts";

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const rest = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** LLaMA 3's words. */
export const llama3Pattern = `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|${rest}`;
const qwen2Pattern = `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|${rest}`;
const [upper, lower] = ["[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]", "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"];
const tekkenPattern = `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
/** The letters that DeepSeek's first tokenizer lists. */
const deepseekLetters =
  "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃";
const eastAsian = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";
const deepseek3Words =
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** How GGUF's `tokenizer.ggml.pre` has words split: the parts of the tokenizer.json that the models were published with. */
export interface PublishedWords {
  /** The first is what is written; the others are read. */
  readonly names: readonly string[];
  readonly preTokenizer: Part;
  readonly ignoreMerges: boolean;
  readonly normalizer: Part | null;
  /** BOS stands before a text where the file does not say. */
  readonly addsBos: boolean;
}

export const publishedWords: readonly PublishedWords[] = [
  words(["llama-bpe", "llama3", "llama-v3", "falcon3", "smaug-bpe"], splits(llama3Pattern), {
    ignoreMerges: true,
    addsBos: true,
  }),
  words(["qwen2", "deepseek-r1-qwen"], splits(qwen2Pattern), { normalizer: { type: "NFC" } }),
  words(["smollm", "starcoder", "refact", "command-r", "codeshell"], [digits()], { useRegex: true }),
  words(["gpt-2", "phi-2", "mpt", "olmo"], [], { useRegex: true }),
  words(["tekken"], splits(tekkenPattern), { ignoreMerges: true, addsBos: true }),
  words(
    ["deepseek-llm"],
    [
      ...splits(
        "[\r\n]",
        `\\s?[${deepseekLetters}]+`,
        "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
        "\\s+$",
        eastAsian,
      ),
      digits(),
    ],
    { addsBos: true },
  ),
  words(["deepseek-coder"], [...splits("[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", eastAsian), digits()], {
    addsBos: true,
  }),
  words(["deepseek-v3"], splits("\\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", deepseek3Words), {
    addsBos: true,
  }),
  // What llama.cpp takes where a file names none.
  words(
    ["default"],
    [...splits("[\\p{P}\\$\\+<=>\\^~\\|]+"), byteLevelWords(), ...splits("\\p{N}+", "[0-9][0-9][0-9]")],
    {},
  ),
];

function words(
  names: readonly string[],
  parts: readonly Part[],
  options: { ignoreMerges?: boolean; addsBos?: boolean; useRegex?: boolean; normalizer?: Part },
): PublishedWords {
  const { ignoreMerges = false, addsBos = false, useRegex = false, normalizer = null } = options;
  return { names, preTokenizer: byteLevelAfter(parts, useRegex), ignoreMerges, normalizer, addsBos };
}

/** The words that a pre-tokeniser of a file is published as; undefined where it is none of them. */
export function publishedAs(preTokenizer: Part | null, file: string): PublishedWords | undefined {
  const key = keyOf(preTokenizer, file);
  return publishedWords.find((published) => keyOf(published.preTokenizer, file) === key);
}

/** What of a pre-tokeniser decides where it splits. */
function keyOf(preTokenizer: Part | null, file: string): string {
  const parts = flatParts(preTokenizer, "pretokenizers", file).map((part) => {
    const pattern = (part.pattern as { Regex?: unknown } | undefined)?.Regex;
    // A line end may stand in the pattern itself or be escaped.
    const source = typeof pattern === "string" ? pattern.replaceAll("\r", "\\r").replaceAll("\n", "\\n") : null;
    const { type, behavior = null, invert = false, individual_digits = null } = part;
    const bytes = type === "ByteLevel" ? [part.use_regex !== false, part.add_prefix_space !== false] : null;
    return [type, source, behavior, invert, individual_digits, bytes];
  });
  return JSON.stringify(parts);
}

/** The parts of a pre-tokeniser, then the spelling by bytes. */
export function byteLevelAfter(parts: readonly Part[], useRegex = false): Part {
  const bytes: Part = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: useRegex };
  return parts.length === 0 ? bytes : { type: "Sequence", pretokenizers: [...parts, bytes] };
}

function splits(...patterns: readonly string[]): Part[] {
  return patterns.map((pattern) => ({
    type: "Split",
    pattern: { Regex: pattern },
    behavior: "Isolated",
    invert: false,
  }));
}

function digits(): Part {
  return { type: "Digits", individual_digits: true };
}

/** GPT-2's words before other splits. */
function byteLevelWords(): Part {
  return splits(gpt2Pattern)[0]!;
}
