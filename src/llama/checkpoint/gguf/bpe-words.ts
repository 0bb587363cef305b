import { CodedError } from "../../../errors/index.ts";

interface Step {
  readonly type?: unknown;
  readonly individual_digits?: unknown;
  readonly use_regex?: unknown;
  readonly pattern?: { readonly Regex?: unknown; readonly String?: unknown };
  readonly pretokenizers?: readonly Step[];
}

/** Regular expressions that tokenizer.json files split words by, and llama.cpp's name for each. */
const patterns: readonly (readonly [name: string, splits: readonly string[]])[] = [
  [
    "llama-bpe",
    [
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    ],
  ],
  [
    "qwen2",
    [
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    ],
  ],
];

/**
 * llama.cpp's name (`tokenizer.ggml.pre`) for how a byte-level tokenizer.json splits words.
 * @throws TOKENIZER_UNSUPPORTED for splits that have no name known here: another name would give other ids
 */
export function bpeWordsName(preTokenizer: unknown, file: string): string {
  const steps = flat(preTokenizer as Step | null);
  const splits = steps.flatMap(({ type, pattern }) =>
    type === "Split" ? String(pattern?.Regex ?? pattern?.String) : [],
  );
  const digits = steps.some(({ type, individual_digits: single }) => type === "Digits" && single === true);
  const usesRegex = steps.some(({ type, use_regex: regex }) => type === "ByteLevel" && regex !== false);
  const others = steps.some(({ type }) => !["Split", "Digits", "ByteLevel"].includes(String(type)));
  const found = patterns.find(([, known]) => known.join("\n") === splits.join("\n"))?.[0];
  if (!others && !digits && !usesRegex && found !== undefined) return found;
  if (!others && usesRegex && splits.length === 0) return digits ? "smollm" : "gpt-2";
  throw new CodedError(
    "TOKENIZER_UNSUPPORTED",
    `${file}: "pre_tokenizer" splits words in a way that has no name in GGUF`,
    {
      hint: "Splits of GPT-2, SmolLM, Llama 3 and Qwen 2 have one.",
    },
  );
}

function flat(step: Step | null): Step[] {
  if (step === null || typeof step !== "object") return [];
  return Array.isArray(step.pretokenizers) ? step.pretokenizers.flatMap(flat) : [step];
}
