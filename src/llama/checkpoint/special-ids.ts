import type { OpenedTokenizer } from "../tokenizer/open.ts";

/** What config.json or generation_config.json lists. */
export interface ListedIds {
  readonly file: string;
  readonly bosTokenIds: readonly number[];
  readonly eosTokenIds: readonly number[];
}

/**
 * The ids that end a text: the tokenizer's own and all that the model's files list. The first conversions of LLaMA
 * (decapoda-research) list the beginning of a text as its end; those are left out, with a warning.
 * @param embeddings rows of the embedding
 */
export function specialIds(
  listed: readonly ListedIds[],
  { tokenizer, neverEos }: OpenedTokenizer,
  embeddings: number,
): { eosTokenIds: number[]; warnings: string[] } {
  const { bosId, eosId } = tokenizer;
  const ends = new Set([eosId]);
  const warnings: string[] = [];
  for (const { file, bosTokenIds, eosTokenIds } of listed) {
    for (const id of eosTokenIds) {
      if (id === eosId || (id < embeddings && !neverEos.includes(id))) ends.add(id);
      else warnings.push(`${file}: "eos_token_id" ${id} ignored, the tokenizer says ${eosId}`);
    }
    const [bos] = bosTokenIds;
    if (bos !== undefined && bosId !== null && bos !== bosId) {
      warnings.push(`${file}: "bos_token_id" ${bos} ignored, the tokenizer says ${bosId}`);
    }
  }
  return { eosTokenIds: [...ends], warnings };
}
