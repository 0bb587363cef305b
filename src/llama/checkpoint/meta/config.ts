import { CodedError } from "../../../errors/index.ts";
import type { PytorchEntry } from "../pytorch/tensors.ts";
import { metaEmbedding, metaHead } from "./names.ts";
import type { MetaParams } from "./params.ts";
import { type MetaShard, missing } from "./shards.ts";

/** The content of a Hugging Face config.json. */
export type ConfigJson = Readonly<Record<string, unknown>>;

export interface MetaConfig {
  readonly configJson: ConfigJson;
  /** 1 where each shard has some columns of the embedding, 0 where it has rows. */
  readonly embeddingAxis: 0 | 1;
  /** What params.json says otherwise than the tensors, one line each. */
  readonly warnings: readonly string[];
}

/** Llama 3's vocabulary; SentencePiece's models of Meta's have 32,000 pieces. */
const llama3Vocabulary = 128_000;

/**
 * What config.json says of a model that params.json and the first shard's tensors describe.
 * Throws CHECKPOINT_TENSOR for a tensor that is missing or has an impossible shape, CHECKPOINT_NOT_FOUND for shards that are.
 */
export function metaConfig(params: MetaParams, shards: readonly MetaShard[]): MetaConfig {
  const [first] = shards;
  const { file, tensors } = first!;
  const matrix = (name: string) => matrixShape(name, tensors.get(name), file);
  const [embeddingRows, embeddingColumns] = matrix(metaEmbedding);
  const [feedForwardRows] = matrix("layers.0.feed_forward.w1.weight");
  const [, outputColumns] = matrix("layers.0.attention.wo.weight");
  refuseMissingShards(shards, (params.heads * params.headDim) / outputColumns);

  const embeddingAxis = embeddingColumns === params.dim ? 0 : 1;
  const vocabSize = embeddingAxis === 0 ? embeddingRows * shards.length : embeddingRows;
  const intermediateSize = feedForwardRows * shards.length;
  const warnings: string[] = [];
  const warn = (what: string, said: number | null, is: number) => {
    if (said !== null && said !== is) warnings.push(`${params.file}: ${what} ${said} ignored, the tensors have ${is}`);
  };
  warn("a vocabulary of", params.vocabSize, vocabSize);
  warn("a feed-forward size of", params.feedForward, intermediateSize);
  const isLlama3 = vocabSize >= llama3Vocabulary || params.ropeFactor !== null;
  const bfloat16 = tensors.get(metaEmbedding)!.dtype === "BF16";
  const ropeTheta = params.ropeTheta ?? (isLlama3 ? 500_000 : 10_000);
  return {
    embeddingAxis,
    warnings,
    configJson: {
      architectures: [params.slidingWindow === null ? "LlamaForCausalLM" : "MistralForCausalLM"],
      model_type: params.slidingWindow === null ? "llama" : "mistral",
      vocab_size: vocabSize,
      hidden_size: params.dim,
      intermediate_size: intermediateSize,
      num_hidden_layers: params.layers,
      num_attention_heads: params.heads,
      num_key_value_heads: params.kvHeads,
      head_dim: params.headDim,
      hidden_act: "silu",
      rms_norm_eps: params.normEps,
      max_position_embeddings: positions(params, { isLlama3, bfloat16, ropeTheta }),
      rope_theta: ropeTheta,
      rope_scaling: ropeScaling(params.ropeFactor),
      ...(params.slidingWindow === null ? {} : { sliding_window: params.slidingWindow }),
      tie_word_embeddings: headIsTied(tensors),
      bos_token_id: isLlama3 ? 128_000 : 1,
      eos_token_id: isLlama3 ? 128_001 : 2,
      torch_dtype: { F32: "float32", F16: "float16" }[tensors.get(metaEmbedding)!.dtype] ?? "bfloat16",
    },
  };
}

/** params.json does not say it; these are the lengths of the releases, as transformers' converter writes them. */
function positions(
  { ropeFactor, feedForward, slidingWindow }: MetaParams,
  release: { readonly isLlama3: boolean; readonly bfloat16: boolean; readonly ropeTheta: number },
): number {
  if (ropeFactor !== null) return 131_072;
  if (release.isLlama3) return 8192;
  if (slidingWindow !== null) return 32_768;
  // Code Llama's and Mistral's theta; Mistral's files give hidden_dim in place of multiple_of.
  if (release.ropeTheta >= 1e6) return feedForward === 14_336 ? 32_768 : 16_384;
  // LLaMA 1 was released in float16, Llama 2 in bfloat16.
  return release.bfloat16 ? 4096 : 2048;
}

function ropeScaling(factor: number | null): object | null {
  if (factor === null) return null;
  const original = { low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
  return { rope_type: "llama3", factor, ...original };
}

/** Without a head of its own, or with one in the embedding's storage. */
function headIsTied(tensors: ReadonlyMap<string, PytorchEntry>): boolean {
  const head = tensors.get(metaHead);
  const embedding = tensors.get(metaEmbedding);
  return head === undefined || (head.offset === embedding?.offset && head.shape.join() === embedding.shape.join());
}

function matrixShape(name: string, entry: PytorchEntry | undefined, file: string): [rows: number, columns: number] {
  const [rows, columns, ...more] = entry?.shape ?? [];
  if (!rows || !columns || more.length > 0) {
    const what = entry === undefined ? "is missing" : `has shape [${entry.shape.join(", ")}]`;
    throw new CodedError("CHECKPOINT_TENSOR", `${file}: tensor "${name}" ${what}`);
  }
  return [rows, columns];
}

/** Each shard holds an equal part of the heads. */
function refuseMissingShards(shards: readonly MetaShard[], needed: number): void {
  if (needed <= shards.length || !Number.isInteger(needed)) return;
  const last = shards.at(-1)!.file;
  const next = last.replace(/consolidated\.\d+/, `consolidated.${String(shards.length).padStart(2, "0")}`);
  throw next === last ? missing(last) : missing(next);
}
