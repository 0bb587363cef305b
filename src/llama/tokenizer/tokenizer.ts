import type { Steps } from "../time-slices.ts";

/** Text <-> token ids, for one vocabulary. Ids are 0 .. vocabSize - 1. */
export interface Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number;
  readonly eosId: number;
  /** Ids of `text` without BOS. The names of control tokens ("</s>") in the text are plain text. */
  encode(text: string): Int32Array;
  /** encode() in steps of well under a millisecond, whatever the text; several may be under way at once. */
  encoding(text: string): Steps<Int32Array>;
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
