import { CodedError } from "../../errors/index.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** GGUF's `tokenizer.ggml.*`, under the last part of each name. */
export interface GgufTokenizerMetadata {
  /** "llama" (SentencePiece) or "gpt2" (byte-level BPE). */
  readonly model: string;
  /** How "gpt2" splits words: "llama-bpe", "qwen2", ...; null where it is absent. */
  readonly pre: string | null;
  readonly tokens: readonly string[];
  /** sentencepiece_model.proto's types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
  readonly tokenTypes: readonly number[] | null;
  readonly scores: readonly number[] | null;
  /** "left right", the first merges first. */
  readonly merges: readonly string[] | null;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly addBos: boolean | null;
  readonly addSpacePrefix: boolean | null;
}

/**
 * The tokenizer that a GGUF file describes. `file` is named in errors.
 * Throws TOKENIZER_UNSUPPORTED naming a model or `pre` that is not known, TOKENIZER_CORRUPT where lists contradict.
 */
export function ggufTokenizer({ model }: GgufTokenizerMetadata, file: string): Tokenizer {
  throw new CodedError("TOKENIZER_UNSUPPORTED", `${file}: tokenizer.ggml.model "${model}" is not supported`);
}
