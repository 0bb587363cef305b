import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { embeddedName } from "../../src/llama/checkpoint/name.ts";
import { writeSafetensors } from "../../src/llama/checkpoint/safetensors-writer.ts";
import { ropeTheta, settings } from "./settings.ts";

const { model } = settings;

/** A Hugging Face folder around the tokenizer.model that is there already: config, generation config, bf16 weights. */
export async function writeCheckpoint(
  folder: string,
  tensors: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>,
): Promise<void> {
  await writeJson(join(folder, "config.json"), {
    _name_or_path: embeddedName,
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: model.vocabSize,
    hidden_size: model.hiddenSize,
    intermediate_size: model.intermediateSize,
    num_hidden_layers: model.layers,
    num_attention_heads: model.heads,
    num_key_value_heads: model.kvHeads,
    max_position_embeddings: model.maxPositionEmbeddings,
    rms_norm_eps: model.rmsNormEps,
    rope_theta: ropeTheta,
    rope_scaling: null,
    hidden_act: "silu",
    attention_bias: false,
    mlp_bias: false,
    tie_word_embeddings: true,
    bos_token_id: 1,
    eos_token_id: 2,
    torch_dtype: "bfloat16",
  });
  await writeJson(join(folder, "generation_config.json"), { bos_token_id: 1, eos_token_id: 2 });
  await writeJson(join(folder, "tokenizer_config.json"), {
    tokenizer_class: "LlamaTokenizer",
    bos_token: "<s>",
    eos_token: "</s>",
    unk_token: "<unk>",
    add_bos_token: true,
    add_eos_token: false,
    legacy: true,
    clean_up_tokenization_spaces: false,
    model_max_length: model.maxPositionEmbeddings,
  });
  await writeSafetensors(
    join(folder, "model.safetensors"),
    Array.from(tensors, ([name, { shape, data }]) => ({ name, shape, data, dtype: "BF16" as const })),
  );
}

export async function writeJson(file: string, value: unknown): Promise<void> {
  await writeFile(file, `${JSON.stringify(value, null, 2)}\n`);
}
