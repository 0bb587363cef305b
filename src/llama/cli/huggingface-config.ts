import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { LlamaConfig } from "../../engine/config.ts";
import type { WeightType } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import { parseBoundedJson } from "../bounded-json.ts";
import { Fields } from "../checkpoint/fields.ts";
import { readGgufHeader } from "../checkpoint/gguf/header.ts";
import { Metadata } from "../checkpoint/gguf/metadata.ts";
import { scalingOf } from "../checkpoint/gguf/rope.ts";
import { architectureOf } from "../checkpoint/gguf/written-model.ts";
import type { Checkpoint } from "../checkpoint/index.ts";
import { ropeFromConfig } from "../checkpoint/rope.ts";

/** Names of types in config.json. */
export const torchNames = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const;

/** config.json for a copy of the model with weights of this type. */
export async function huggingFaceConfig(model: Checkpoint, dtype: WeightType): Promise<object> {
  const fields = model.file === null ? await givenFields(model.folder) : await fieldsOfGguf(model, model.file);
  // transformers reads either; a file that had both would leave open which is meant.
  fields.delete("dtype");
  fields.set("torch_dtype", torchNames[dtype]);
  fields.set("vocab_size", model.config.vocabSize);
  // An adapter may part a head from its embedding.
  if ((fields.get("tie_word_embeddings") ?? false) !== model.config.tiedHead) {
    fields.set("tie_word_embeddings", model.config.tiedHead);
  }
  // The first conversions of LLaMA spell the class in another way and list ids that the tokenizer does not have.
  const architecture = [fields.get("architectures")].flat()[0];
  if (typeof architecture === "string" && /^llama/i.test(architecture)) {
    fields.set("architectures", ["LlamaForCausalLM"]);
  }
  fields.set("bos_token_id", model.bosTokenId);
  fields.set("eos_token_id", model.eosTokenIds.length === 1 ? model.eosTokenIds[0] : model.eosTokenIds);
  return Object.fromEntries(fields);
}

async function givenFields(folder: string): Promise<Map<string, unknown>> {
  const text = await readFile(join(folder, "config.json"), "utf8");
  return new Map(Object.entries(parseBoundedJson(text.replace(/^\ufeff/, "")) as object));
}

async function fieldsOfGguf({ config }: Checkpoint, file: string): Promise<Map<string, unknown>> {
  const metadata = new Metadata(await readGgufHeader(file));
  const architecture = architectureOf(config);
  const key = (name: string) => `${metadata.text("general.architecture")}.${name}`;
  const theta = metadata.positive(key("rope.freq_base"), 10_000);
  const scaling = scalingOf(metadata, key, config) ?? stretched(config, theta, file);
  const isMistral = architecture === "llama" && config.slidingWindow !== null;
  const kind = isMistral ? "mistral" : architecture;
  const classes = { llama: "Llama", mistral: "Mistral", qwen2: "Qwen2", qwen3: "Qwen3" } as const;
  return new Map<string, unknown>([
    ["architectures", [`${classes[kind]}ForCausalLM`]],
    ["model_type", kind],
    ["hidden_size", config.hiddenSize],
    ["intermediate_size", config.intermediateSize],
    ["num_hidden_layers", config.layers],
    ["num_attention_heads", config.heads],
    ["num_key_value_heads", config.kvHeads],
    ["head_dim", config.headDim],
    ["hidden_act", "silu"],
    ["rms_norm_eps", config.rmsNormEps],
    ["max_position_embeddings", config.maxPositionEmbeddings],
    ["rope_theta", theta],
    ["rope_scaling", scaling],
    ["tie_word_embeddings", config.tiedHead],
    ...(config.slidingWindow === null ? [] : [["sliding_window", config.slidingWindow] as [string, unknown]]),
  ]);
}

/**
 * Llama 3.1's scaling, which GGUF has as divisors of the frequencies; null where nothing is divided.
 * @throws CHECKPOINT_UNSUPPORTED for divisors that are not of its kind
 */
function stretched(config: LlamaConfig, theta: number, file: string): object | null {
  const { headDim, maxPositionEmbeddings, rope } = config;
  const inverse = (fields: object) =>
    ropeFromConfig(new Fields(fields, file), { headDim, maxPositionEmbeddings }).inverseFrequencies;
  const isSame = (values: Float32Array) =>
    values.every((value, i) => Math.abs(value - rope.inverseFrequencies[i]!) <= 1e-5 * value);
  const plain = inverse({ rope_theta: theta });
  if (isSame(plain)) return null;
  const factor = Number((plain.at(-1)! / rope.inverseFrequencies.at(-1)!).toPrecision(5));
  const scaling = {
    rope_type: "llama3",
    factor,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  if (isSame(inverse({ rope_theta: theta, rope_scaling: scaling }))) return scaling;
  throw new CodedError(
    "CHECKPOINT_UNSUPPORTED",
    `${file}: rope_freqs.weight is not of the kind of Llama 3.1's scaling`,
  );
}
