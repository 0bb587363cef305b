import type { BpeTokenizer } from "./bpe-tokenizer.ts";
import type { Part } from "./tokenizer-json.ts";

/** A tokenizer.json of Hugging Face's tokenizers library for a byte-level or metaspace BPE tokenizer. */
export function tokenizerJson({ definition, bosId }: BpeTokenizer): object {
  const { vocabulary, merges, added, byteFallback, fuseUnknown, ignoreMerges, unknown, pieces } = definition;
  // The library numbers added tokens anew that the vocabulary does not have.
  const all = new Map([...added.map(({ content, id }) => [content, id] as const), ...vocabulary]);
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added.map(({ id, content, special }) => ({
      ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special },
    })),
    normalizer: definition.normalizer,
    pre_tokenizer: definition.preTokenizer,
    post_processor: definition.postProcessor ?? beginning(bosId, bosId === null ? undefined : pieces[bosId]),
    decoder: complete(definition.decoder),
    model: {
      type: "BPE",
      dropout: null,
      unk_token: unknown,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: fuseUnknown,
      byte_fallback: byteFallback,
      ignore_merges: ignoreMerges,
      vocab: Object.fromEntries([...all].sort(([, a], [, b]) => a - b)),
      merges: [...merges.inOrder()].map(({ left, right }) => [pieces[left], pieces[right]]),
    },
  };
}

/** The tokenizers library asks for fields of ByteLevel that do not matter for decoding. */
function complete(decoder: Part | null): object | null {
  if (decoder?.type !== "ByteLevel") return decoder;
  return { add_prefix_space: false, trim_offsets: true, use_regex: true, ...decoder };
}

/** BOS before every text. */
function beginning(id: number | null, token: string | undefined): object | null {
  if (id === null || token === undefined) return null;
  const special = { SpecialToken: { id: token, type_id: 0 } };
  const text = (name: string, type: number) => ({ Sequence: { id: name, type_id: type } });
  return {
    type: "TemplateProcessing",
    single: [special, text("A", 0)],
    pair: [special, text("A", 0), { SpecialToken: { id: token, type_id: 1 } }, text("B", 1)],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  };
}
