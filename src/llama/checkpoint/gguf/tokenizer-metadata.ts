import { tokenizerMetadata as describe } from "../../tokenizer/gguf-metadata.ts";
import { pieceTypes } from "../../tokenizer/sentencepiece-model.ts";
import type { Checkpoint } from "../open.ts";
import type { GgufWritten } from "./write.ts";

/**
 * `tokenizer.*` of a GGUF header for a model's tokenizer and chat template.
 * @throws TOKENIZER_UNSUPPORTED for one that GGUF cannot describe
 */
export function tokenizerMetadata(
  model: Pick<Checkpoint, "config" | "tokenizer" | "chatTemplate">,
): Map<string, GgufWritten> {
  const described = describe(model.tokenizer);
  const { bosId, eosId, addBos, addSpacePrefix, merges } = described;
  // Rows of the embedding without a token: llama.cpp wants a name for each.
  const missing = Array.from({ length: model.config.vocabSize - described.tokens.length }, (_, i) => i);
  const types = [...(described.tokenTypes ?? []), ...missing.map(() => pieceTypes.unused)];
  const tokens = [...described.tokens, ...missing.map((i) => `[PAD${described.tokens.length + i}]`)];
  const key = (name: string) => `tokenizer.ggml.${name}`;
  const metadata = new Map<string, GgufWritten>([
    [key("model"), { text: described.model }],
    [key("pre"), { text: described.pre ?? "default" }],
    [key("tokens"), { texts: tokens }],
    [key("token_type"), { i32s: types }],
    [key("add_bos_token"), { bool: addBos ?? false }],
    [key("add_eos_token"), { bool: false }],
    [key("add_space_prefix"), { bool: addSpacePrefix ?? false }],
  ]);
  if (described.scores !== null)
    metadata.set(key("scores"), { f32s: [...described.scores, ...missing.map(() => -1000)] });
  if (merges !== null) metadata.set(key("merges"), { texts: merges });
  if (bosId !== null) metadata.set(key("bos_token_id"), { u32: bosId });
  if (eosId !== null) metadata.set(key("eos_token_id"), { u32: eosId });
  const unknown = types.indexOf(pieceTypes.unknown);
  if (unknown >= 0) metadata.set(key("unknown_token_id"), { u32: unknown });
  if (model.chatTemplate !== null) metadata.set("tokenizer.chat_template", { text: model.chatTemplate });
  return metadata;
}
