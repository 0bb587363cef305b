import { existsSync } from "node:fs";
import { join } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { readChatTemplate } from "../checkpoint/chat-template.ts";
import type { Checkpoint } from "../checkpoint/open.ts";
import { specialIds } from "../checkpoint/special-ids.ts";
import { openTokenizer } from "../tokenizer/open.ts";
import type { FullAdapter } from "./adapter.ts";
import { adaptWeights } from "./merge.ts";
import { embedding } from "./tensor-name.ts";
import type { WeightChanges } from "./weight-change.ts";

export interface AdapterToMerge extends FullAdapter {
  /** In messages. */
  readonly name: string;
  readonly factor: number;
}

/** A model with adapters in it, before its weights are changed. */
export interface AdaptedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly changes: WeightChanges;
  /** The adapter's, whose tokenizer is the model's now; null where that is the base's. */
  readonly tokenizerFolder: string | null;
}

/**
 * The model that a base and adapters make. The tokenizer beside an adapter with an embedding of its own is the model's then,
 * and so is a chat template there.
 * @throws what adaptWeights throws, TOKENIZER_* for a tokenizer that cannot be read or has more pieces than embeddings
 */
export async function adaptCheckpoint(
  base: Checkpoint,
  adapters: readonly AdapterToMerge[],
): Promise<AdaptedCheckpoint> {
  const merged = adapters.map((adapter) => ({ ...adapter, tiesWeights: adapter.config.tiesWeights }));
  const { weights, changes } = adaptWeights(base.weights, merged);
  const checkpoint = { ...base, weights, config: weights.config };
  const owner = adapters.find(({ whole }) => whole.replaced.has(`${embedding}.weight`));
  const folder = owner?.folder ?? null;
  const hasTokenizer =
    folder !== null && ["tokenizer.model", "tokenizer.json"].some((n) => existsSync(join(folder, n)));
  if (folder === null || owner === undefined || !hasTokenizer) {
    const warnings = [...base.warnings];
    if (weights.config.vocabSize !== base.config.vocabSize) {
      const rows = `${weights.config.vocabSize} embeddings instead of ${base.config.vocabSize}`;
      warnings.push(`${owner?.name}: has ${rows}, and no tokenizer beside it that says what the others mean`);
    }
    return { checkpoint: { ...checkpoint, warnings }, changes, tokenizerFolder: null };
  }
  const opened = await openTokenizer([folder]);
  const { tokenizer, kind } = opened;
  if (tokenizer.vocabSize > weights.config.vocabSize) {
    const sizes = `has ${tokenizer.vocabSize} pieces, the adapter has ${weights.config.vocabSize} embeddings`;
    throw new CodedError("TOKENIZER_MISMATCH", `${owner.name}: its tokenizer ${sizes}`, {
      hint: "Use the tokenizer that the adapter was trained with",
    });
  }
  const listed = { file: owner.name, bosTokenIds: [], eosTokenIds: base.eosTokenIds };
  const special = specialIds([listed], opened, weights.config.vocabSize);
  const template = await readChatTemplate([folder]);
  return {
    checkpoint: {
      ...checkpoint,
      ...(template.chatTemplate === null ? {} : template),
      tokenizer,
      tokenizerKind: kind,
      bosTokenId: tokenizer.bosId,
      eosTokenIds: special.eosTokenIds,
      warnings: [...base.warnings, ...special.warnings],
    },
    changes,
    tokenizerFolder: folder,
  };
}
