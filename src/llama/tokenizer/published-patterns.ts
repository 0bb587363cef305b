import type { Part } from "./tokenizer-json.ts";

/** LLaMA 3's words. */
export const llama3Pattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** The parts of a pre-tokeniser, then the spelling by bytes. */
export function byteLevelAfter(parts: readonly Part[], useRegex = false): Part {
  const bytes: Part = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: useRegex };
  return parts.length === 0 ? bytes : { type: "Sequence", pretokenizers: [...parts, bytes] };
}
