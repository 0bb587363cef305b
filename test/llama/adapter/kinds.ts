import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type LlamaConfig, linearNames, linearPath, linearShape } from "../../../src/engine/config.ts";
import type { Engine, WeightType } from "../../../src/engine/engine.ts";
import { openCheckpoint } from "../../../src/llama/checkpoint/index.ts";
import { type TensorToWrite, writeSafetensors } from "../../../src/llama/checkpoint/safetensors-writer.ts";
import { withOwnAdapter } from "../../../src/llama/generation/own-adapter.ts";
import { randomValues } from "../../engine/random-model.ts";
import { type TinyVariant, tinyConfig, words, writeTinyCheckpoint } from "../generation/tiny-checkpoint.ts";
import { modelFile, usualPieces } from "../tokenizer/sentencepiece-fixture.ts";

/** The tiny models that the adapters are for. */
export const bases: Readonly<Record<string, TinyVariant>> = {
  plain: {},
  tied: { tiedHead: true },
  biased: { attentionBias: true },
};

/** A kind of PEFT adapter. */
export interface Kind {
  readonly name: string;
  readonly base: keyof typeof bases;
  /** Of adapter_config.json, beside rank, alpha and the linears. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Tokens that the vocabulary has more than the base's. */
  readonly grownBy?: number;
}

const linears = ["q_proj", "v_proj", "down_proj"];
const saved = ["embed_tokens", "lm_head"];
/** A tokenizer of so many pieces more lies beside the adapter of a grown vocabulary. */
const grownBy = 3;

export const kinds: readonly Kind[] = [
  { name: "plain", base: "plain", fields: {} },
  { name: "rslora", base: "plain", fields: { use_rslora: true } },
  { name: "patterns", base: "plain", fields: { rank_pattern: { v_proj: 2 }, alpha_pattern: { q_proj: 3 } } },
  { name: "dora", base: "plain", fields: { use_dora: true } },
  { name: "dora-head", base: "plain", fields: { use_dora: true, target_modules: [...linears, "lm_head"] } },
  { name: "head", base: "plain", fields: { target_modules: [...linears, "lm_head"] } },
  { name: "embedding", base: "plain", fields: { target_modules: [...linears, "embed_tokens"] } },
  { name: "saved", base: "plain", fields: { modules_to_save: saved } },
  { name: "norms", base: "plain", fields: { modules_to_save: ["input_layernorm", "model.norm"] } },
  { name: "grown", base: "plain", fields: { modules_to_save: saved }, grownBy },
  { name: "grown-pairs", base: "plain", fields: { target_modules: [...linears, ...saved] }, grownBy },
  { name: "tied-embedding", base: "tied", fields: { target_modules: [...linears, "embed_tokens"] } },
  { name: "tied-head", base: "tied", fields: { target_modules: [...linears, "lm_head"] } },
  { name: "tied-saved-embedding", base: "tied", fields: { modules_to_save: ["embed_tokens"] } },
  { name: "tied-saved-head", base: "tied", fields: { modules_to_save: ["lm_head"] } },
  { name: "tokens", base: "plain", fields: { trainable_token_indices: { embed_tokens: [5, 259], lm_head: [7] } } },
  { name: "tied-tokens", base: "tied", fields: { trainable_token_indices: [5, 259, 271] } },
  { name: "bias", base: "biased", fields: { lora_bias: true, target_modules: ["q_proj", "v_proj"] } },
];

export const tokensOf = ({ grownBy = 0 }: Kind): Int32Array =>
  Int32Array.of(1, 259, 261, 5, 270, tinyConfig.vocabSize - 1 + grownBy, 265, 262);

export async function writeBases(folder: string): Promise<void> {
  for (const [name, variant] of Object.entries(bases)) await writeTinyCheckpoint(join(folder, name), 3, variant);
}

/** Writes an adapter of this kind; its numbers are the same everywhere. */
export async function writeKind(folder: string, kind: Kind, dtype: WeightType = "F32"): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const fields = {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    r: 4,
    lora_alpha: 6,
    target_modules: linears,
    ...kind.fields,
  };
  writeFileSync(join(folder, "adapter_config.json"), JSON.stringify(fields));
  await writeSafetensors(
    join(folder, "adapter_model.safetensors"),
    tensorsOf(kind, fields).map((tensor) => ({ ...tensor, dtype })),
  );
  if (kind.grownBy === undefined) return;
  const more = Array.from({ length: kind.grownBy }, (_, i) => ({ text: "鹿马牛"[i]!, score: -100 - i }));
  writeFileSync(join(folder, "tokenizer.model"), modelFile(usualPieces(words, more)));
}

function tensorsOf(kind: Kind, fields: { target_modules: readonly string[]; r: number } & Record<string, unknown>) {
  const config: LlamaConfig = { ...tinyConfig, vocabSize: tinyConfig.vocabSize + (kind.grownBy ?? 0) };
  const seed = kinds.indexOf(kind) + 10;
  const tensors: TensorToWrite[] = [];
  const add = (path: string, shape: readonly number[], size: number, around = 0) => {
    const length = shape.reduce((product, value) => product * value, 1);
    const data = randomValues(length, seed, tensors.length, size).map((value) => value + around);
    tensors.push({ name: `base_model.model.${path}`, shape, data });
  };
  const pair = (path: string, [out, input]: readonly [number, number], rank: number) => {
    add(`${path}.lora_A.weight`, [rank, input], 1 / Math.sqrt(input));
    add(`${path}.lora_B.weight`, [out, rank], 0.5);
    if (fields.use_dora) add(`${path}.lora_magnitude_vector`, [out], 0.4, 1);
    if (fields.lora_bias) add(`${path}.lora_B.bias`, [out], 1);
  };
  const ranks = (fields.rank_pattern ?? {}) as Record<string, number>;
  for (let layer = 0; layer < config.layers; layer++) {
    for (const linear of linearNames) {
      if (!fields.target_modules.includes(linear)) continue;
      pair(linearPath(layer, linear), linearShape(config, linear), ranks[linear] ?? fields.r);
    }
  }
  const { vocabSize, hiddenSize, layers } = config;
  // PEFT keeps the base of a pair on them beside it.
  if (fields.target_modules.includes("lm_head")) {
    pair("lm_head", [vocabSize, hiddenSize], fields.r);
    if (kind.grownBy) add("lm_head.base_layer.weight", [vocabSize, hiddenSize], 0.3);
  }
  if (fields.target_modules.includes("embed_tokens")) {
    add("model.embed_tokens.lora_embedding_A", [fields.r, vocabSize], 0.5);
    add("model.embed_tokens.lora_embedding_B", [hiddenSize, fields.r], 0.5);
    if (kind.grownBy) add("model.embed_tokens.base_layer.weight", [vocabSize, hiddenSize], 1.7);
  }
  const trained = fields.trainable_token_indices as number[] | Record<string, number[]> | undefined;
  const tokens = Array.isArray(trained) ? { embed_tokens: trained } : (trained ?? {});
  for (const [end, ids] of Object.entries(tokens)) {
    const path = end === "lm_head" ? end : `model.${end}`;
    add(`${path}.token_adapter.trainable_tokens_delta`, [ids.length, hiddenSize], 1.5);
  }
  const whole = (fields.modules_to_save ?? []) as readonly string[];
  if (whole.includes("lm_head")) add("lm_head.weight", [vocabSize, hiddenSize], 0.3);
  if (whole.includes("embed_tokens")) add("model.embed_tokens.weight", [vocabSize, hiddenSize], 1.7);
  if (whole.includes("model.norm")) add("model.norm.weight", [hiddenSize], 0.3, 1);
  if (whole.includes("input_layernorm")) {
    for (let layer = 0; layer < layers; layer++)
      add(`model.layers.${layer}.input_layernorm.weight`, [hiddenSize], 0.3, 1);
  }
  return tensors;
}

/** Logits of every position, of a base served with such an adapter. */
export async function servedLogits(engine: Engine, base: string, adapter: string, tokens: Int32Array) {
  const quiet = { log: () => {}, warn: () => {} };
  const served = await withOwnAdapter(await openCheckpoint(base), adapter, quiet);
  const model = await engine.load(served.checkpoint.weights).finally(() => served.remove());
  try {
    const beside = served.adapter === null ? null : await model.createAdapter(served.adapter.modules);
    return { logits: await model.logits(tokens, beside), checkpoint: served.checkpoint };
  } finally {
    await model.close();
  }
}
