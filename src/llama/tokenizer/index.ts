export { type OpenedTokenizer, openTokenizer } from "./open.ts";
export { sentencePieceTokenizer } from "./sentencepiece.ts";
export type { StreamDecoder, Tokenizer } from "./tokenizer.ts";
