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
  "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}";
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
