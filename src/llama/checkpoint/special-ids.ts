import type { OpenedTokenizer } from "../tokenizer/open.ts";

/** What config.json and generation_config.json list. */
export interface ListedIds {
  readonly bosTokenIds: readonly number[];
  readonly eosTokenIds: readonly number[];
}

/**
 * The ids that end a text: the tokenizer's own and all that the model lists. The first conversions of LLaMA
 * (decapoda-research) list the beginning of a text as its end; those are left out, with a warning.
 * @param embeddings rows of the embedding
 */
export function eosTokenIds(listed: ListedIds, { tokenizer, neverEos }: OpenedTokenizer, embeddings: number) {
  const warnings: string[] = [];
  const kept = [tokenizer.eosId];
  for (const id of new Set(listed.eosTokenIds)) {
    if (id === tokenizer.eosId) continue;
    if (id < embeddings && !neverEos.includes(id)) kept.push(id);
    else warnings.push(`"eos_token_id" ${id} ignored, the tokenizer says ${tokenizer.eosId}`);
  }
  const [bos] = listed.bosTokenIds;
  if (bos !== undefined && bos !== tokenizer.bosId) {
    warnings.push(`"bos_token_id" ${bos} ignored, the tokenizer says ${tokenizer.bosId}`);
  }
  return { eosTokenIds: kept, warnings };
}
