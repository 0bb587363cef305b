import type { Steps } from "../time-slices.ts";
import type { TokenizerInput } from "./tokenizer-input.ts";

/** Text <-> token ids, for one vocabulary. Ids are 0 .. vocabSize - 1. */
export interface Tokenizer {
  readonly vocabSize: number;
  /** What stands before a text; null for a model that was trained without one. */
  readonly bosId: number | null;
  readonly eosId: number;
  /** Names of the special tokens, which text never becomes, and their ids. */
  readonly specialTokens: ReadonlyMap<string, number>;
  /** Ids of `input` without BOS. The names of special tokens ("</s>") in its texts are plain text. */
  encode(input: TokenizerInput): Int32Array;
  /** encode() in steps of well under a millisecond, whatever the text; several may be under way at once. */
  encoding(input: TokenizerInput): Steps<Int32Array>;
  /** Text of `ids`; control tokens and ids outside the vocabulary are not shown, bytes that are no character are U+FFFD. */
  decode(ids: Iterable<number>): string;
  /** The piece as the vocabulary spells it; null outside the vocabulary. */
  piece(id: number): string | null;
  /**
   * Decodes token by token; the parts joined are decode() of the whole. With `promptIds` the text continues that
   * prompt, which is not repeated: a leading space is kept, and a character that the prompt left unfinished is shown
   * by the token that finishes it.
   */
  decoder(promptIds?: Iterable<number>): StreamDecoder;
}

export interface StreamDecoder {
  /** Text that this token completes; "" while a character is unfinished. Never half of a surrogate pair. */
  push(id: number): string;
  /** Text of the bytes still held back (U+FFFD), for the end of the generation. */
  flush(): string;
}
