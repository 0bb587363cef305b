import type { Tokenizer } from "./tokenizer.ts";

/**
 * What is encoded: text, or texts with token ids between them. Names of special tokens in a text are plain text; only
 * ids stand for the tokens themselves.
 */
export type TokenizerInput = string | readonly (string | number)[];

/** The texts and ids of `input` in order, without empty texts. */
export function inputParts(input: TokenizerInput): readonly (string | number)[] {
  if (typeof input === "string") return input === "" ? [] : [input];
  return input.filter((part) => part !== "");
}

/** UTF-16 units of the texts, and one for each id. */
export function inputLength(input: TokenizerInput): number {
  if (typeof input === "string") return input.length;
  return input.reduce<number>((sum, part) => sum + (typeof part === "string" ? part.length : 1), 0);
}

/** BOS, where the model has one and the ids do not begin with it. */
export function bosBefore(ids: Int32Array, { bosId }: Pick<Tokenizer, "bosId">): readonly number[] {
  return bosId === null || ids[0] === bosId ? [] : [bosId];
}
