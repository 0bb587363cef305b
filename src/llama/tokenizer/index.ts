export { type GgufTokenizerMetadata, ggufTokenizer } from "./gguf.ts";
export { tokenizerMetadata } from "./gguf-metadata.ts";
export { type OpenedTokenizer, openTokenizer } from "./open.ts";
export { sentencePieceTokenizer } from "./sentencepiece.ts";
export type { StreamDecoder, Tokenizer } from "./tokenizer.ts";
export { inputLength, inputParts, type TokenizerInput } from "./tokenizer-input.ts";
